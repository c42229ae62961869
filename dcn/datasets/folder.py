"""Any folder of photographs, optionally with a folder of masks and a file of class names."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import Field

from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.errors import InvalidDatasetError
from dcn.images.files import is_lasting

_SPLIT = "all"
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
# Photographs that Pillow does not decode. They are listed, so that the index says so.
_UNKNOWN_SUFFIXES = {".heic", ".heif", ".jxl"}


class FolderOptions(DatasetOptions):
    """Any folder of photographs."""

    name: Literal["folder"] = "folder"
    root: Path = Field(description="Folder of the photographs; its subfolders are searched as well.")
    masks: Path | None = Field(None, description="Folder of the masks, which are named like the photographs.")
    classes: Path | None = Field(
        None, description="Text file with one class name per line; the first is the background."
    )

    def open(self) -> FolderDataset:
        return FolderDataset(self.root, self.masks, self.classes)


class FolderDataset(Dataset):
    """The image files of a folder and its subfolders; there is one split, ``all``.

    An id is the path below the folder without its suffix, or with it where another file would have the
    same. What has the suffix of an image and is none is listed too, and so are folders that may not be
    read and links to folders, so that the index can refuse them: nothing is passed over in silence.

    Args:
        root: the folder. Links to files in it are followed, wherever they lead.
        masks: a folder in which the mask of ``a/b.jpg`` is ``a/b.png``; may be inside ``root``.
        classes: a text file with one class name a line; the first is the background. Needed with masks.

    """

    train_split = _SPLIT
    evaluate_split = _SPLIT

    def __init__(self, root: Path, masks: Path | None = None, classes: Path | None = None) -> None:
        for name, folder in (("root", root), ("masks", masks)):
            if folder is not None and not folder.is_dir():
                raise InvalidDatasetError(f"there is no folder {folder}; check dataset.{name}")
        if masks is not None and classes is None:
            raise InvalidDatasetError("masks need class names: set dataset.classes to a text file of them")
        self.root = root.absolute()
        self._masks = None if masks is None else masks.absolute()
        self.class_names = _read_classes(classes) if classes else ()

    def items(self) -> Iterator[Item]:
        items = self._items("")
        first = next(items, None)
        if first is None:
            raise InvalidDatasetError(f"there is no image in {self.root} or its subfolders")
        yield first
        yield from items

    def _items(self, folder: str) -> Iterator[Item]:
        """Of a folder and its subfolders, in the order of their paths.

        Only the names of one folder, and of those that it is in, are in memory at once.
        """
        try:
            with os.scandir(self.root / folder) as entries:
                names = sorted(name for name in map(self._listed, entries) if name)
        except OSError as error:
            if not is_lasting(error):
                raise
            if not folder:
                raise InvalidDatasetError(
                    f"the folder {self.root} cannot be read: {error.strerror}"
                ) from error
            yield Item(folder, folder, None, (_SPLIT,))
            return
        prefix = f"{folder}/" if folder else ""
        files = {prefix + name for name in names if not name.endswith("/")}
        stems = Counter(map(_stem, files))
        for name in names:
            if name.endswith("/"):
                yield from self._items(prefix + name.removesuffix("/"))
                continue
            file = prefix + name
            stem = _stem(file)
            unique = stems[stem] == 1 and stem not in files
            yield Item(stem if unique else file, file, self._mask_file(stem), (_SPLIT,))

    def _listed(self, entry: os.DirEntry[str]) -> str | None:
        """Name of what may be a photograph; of a folder to search, with a slash; None where it is neither.

        Sorted, these names are in the order of the paths of all that they lead to.
        """
        try:
            folder = entry.is_dir()
        except OSError as error:
            if not is_lasting(error):
                raise
            folder = False
        if folder and Path(entry.path) == self._masks:
            return None
        if folder:
            return entry.name if entry.is_symlink() else f"{entry.name}/"
        return entry.name if Path(entry.name).suffix.lower() in _listed_suffixes() else None

    def _mask_file(self, stem: str) -> str | None:
        if self._masks is None:
            return None
        for suffix in _MASK_SUFFIXES:
            mask = self._masks / f"{stem}{suffix}"
            if _exists(mask):  # whatever it is: what is no mask is refused with its reason
                return str(mask)  # absolute: root / mask is mask
        return None


def _exists(path: Path) -> bool:
    """Whether there is something with this name; ``os.path.lexists`` takes any failure for a no."""
    try:
        path.lstat()
    except OSError as error:
        if not is_lasting(error):
            raise
        return False
    return True


@cache
def _listed_suffixes() -> set[str]:
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return known | _UNKNOWN_SUFFIXES


def _stem(file: str) -> str:
    """The file without its suffix; with it where nothing but dots would be left."""
    stem = file.removesuffix(Path(file).suffix)
    return file if stem.rpartition("/")[2].strip(".") == "" else stem


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDatasetError(f"the class names {path} cannot be read: {error}") from error
    if not 2 <= len(names) <= 255:
        raise InvalidDatasetError(
            f"{path} has {len(names)} class names; it needs the background and 1 to 254 others"
        )
    for name in names:
        if any(unicodedata.category(character) == "Cc" for character in name):
            raise InvalidDatasetError(f"{path} has the class name {name!r}, with a control character in it")
    return names
