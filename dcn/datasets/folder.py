"""Any folder of photographs, optionally with a folder of masks and a file of class names."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from dcn.datasets.dataset import Dataset, Item
from dcn.errors import InvalidDatasetError

_SPLIT = "all"
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
# Photographs that Pillow does not decode. They are listed, so that the index says so.
_UNKNOWN_SUFFIXES = {".heic", ".heif", ".jxl"}


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
        files = sorted(self._files())
        if not files:
            raise InvalidDatasetError(f"there is no image in {self.root} or its subfolders")
        names = {*files}
        stems = Counter(_stem(file) for file in files)
        for file in files:
            stem = _stem(file)
            unique = stems[stem] == 1 and stem not in names
            yield Item(stem if unique else file, file, self._mask_file(stem), (_SPLIT,))

    def _files(self) -> Iterator[str]:
        """What may be a photograph, relative to the root; and the folders that hide theirs."""
        known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
        unreadable: list[OSError] = []
        for name, folders, files in os.walk(self.root, onerror=unreadable.append):
            folder = Path(name)
            folders[:] = [inside for inside in folders if folder / inside != self._masks]
            paths = [folder / file for file in files]
            found = [path for path in paths if path.suffix.lower() in known | _UNKNOWN_SUFFIXES]
            found.extend(folder / inside for inside in folders if (folder / inside).is_symlink())
            yield from (path.relative_to(self.root).as_posix() for path in found)
        for error in unreadable:
            path = Path(error.filename)
            if path == self.root:
                raise InvalidDatasetError(f"the folder {path} cannot be read: {error.strerror}")
            yield path.relative_to(self.root).as_posix()

    def _mask_file(self, stem: str) -> str | None:
        if self._masks is None:
            return None
        for suffix in _MASK_SUFFIXES:
            mask = self._masks / f"{stem}{suffix}"
            if os.path.lexists(mask):  # whatever it is: what is no mask is refused with its reason
                return str(mask)  # absolute: root / mask is mask
        return None


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
