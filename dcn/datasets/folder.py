"""Any folder of photographs, optionally with a folder of masks and a text file of class names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field

from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.datasets.mask_classes import check_mask_values, map_values, mask_class_names, sampled_values
from dcn.errors import InvalidDatasetError
from dcn.images.files import is_lasting, read_file
from dcn.images.raw import RAW_SUFFIXES
from dcn.text_files import decode_text, has_control_character

_SPLIT = "all"
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
# Photographs that Pillow does not decode. They are listed, so that the index reads or reports them.
_OTHER_SUFFIXES = RAW_SUFFIXES | {".jxl"}
# Files that operating systems put beside every file, or into every folder.
_OF_SYSTEMS = ("._", ".ds_store", "thumbs.db", "desktop.ini")


def _with_text_keys(value: Any) -> Any:
    """Write numbers as text: JSON and YAML disagree about the type of the key 255."""
    return {str(key): name for key, name in value.items()} if isinstance(value, dict) else value


MaskNames = Annotated[dict[str, str], BeforeValidator(_with_text_keys), AfterValidator(check_mask_values)]


class FolderOptions(DatasetOptions):
    """Any folder of photographs."""

    name: Literal["folder"] = "folder"
    root: Path = Field(description="Folder of the photographs; its subfolders are searched as well.")
    masks: Path | None = Field(None, description="Folder of the masks, which are named like the photographs.")
    classes: Path | None = Field(
        None, description="Text file with one class name per line; the first is the background."
    )
    mask_values: MaskNames | None = Field(
        None,
        description="Class name of each value in the masks, or ``ignore``: ``{0: background, 255: cat}``; of "
        "colors ``{0 0 0: background, 255 0 0: cat}``. Without ``classes`` these names are the classes. "
        "Empty: the values count the classes from 0, and 255 is ignored.",
    )

    @property
    def title(self) -> str:
        return self.root.absolute().name or self.name

    @property
    def has_classes(self) -> bool:
        return self.masks is not None

    def open(self) -> FolderDataset:
        return FolderDataset(self.root, self.masks, self.classes, self.mask_values)


class FolderDataset(Dataset):
    """The image files of a folder and its subfolders, with one split, ``all``.

    The id of a photograph is its path below the folder without the suffix, or with the suffix if two files
    would have the same id. Folders without read permission, links to folders, and files that only have the
    suffix of an image are listed as well: the index refuses them with a reason instead of skipping them
    silently.

    Args:
        root: folder of the photographs. Links to files are followed, wherever they lead.
        masks: folder in which the mask of ``a/b.jpg`` is ``a/b.png``; may be inside ``root``.
        classes: text file with one class name per line; the first is the background. Masks need it, or
            ``mask_values``.
        mask_values: class name of each value in the masks, or ``ignore``; None: the values are class indices.

    Raises:
        InvalidDatasetError: a folder is not there, or the class names are missing or cannot be read.

    """

    train_split = _SPLIT
    evaluate_split = _SPLIT

    def __init__(
        self,
        root: Path,
        masks: Path | None = None,
        classes: Path | None = None,
        mask_values: Mapping[str, str] | None = None,
    ) -> None:
        for name, folder in (("root", root), ("masks", masks)):
            if folder is not None and not folder.is_dir():
                raise InvalidDatasetError(f"there is no folder {folder}", parameter=name)
        if masks is not None and classes is None and mask_values is None:
            raise InvalidDatasetError(
                f"masks need class names; give a text file with one name per line{sampled_values(masks)}",
                parameter="classes",
            )
        self.root = root.absolute()
        self._masks = None if masks is None else masks.absolute()
        self._classes = None if classes is None else classes.absolute()
        self.class_names = _read_classes(classes) if classes else mask_class_names(mask_values or {})
        if mask_values is not None:
            self.mask_values = map_values(mask_values, self.class_names, self.ignore_label)

    def check_labels(self, labels: Set[int]) -> None:
        if self.mask_values is None and len(self.class_names) == 2 and labels == {0, self.ignore_label}:
            background, other = self.class_names
            raise InvalidDatasetError(
                f"the masks have only the values 0 and 255, and 255 is ignored, so no pixel is {other!r}; "
                f"set mask_values to {{0: {background}, 255: {other}}}, or, if 255 is no class, to "
                f"{{0: {background}, 255: ignore}}",
                parameter="mask_values",
            )

    def items(self) -> Iterator[Item]:
        items = self._items("")
        first = next(items, None)
        if first is None:
            raise InvalidDatasetError(
                f"there is no image in {self.root} or its subfolders; name the folder of the photographs",
                parameter="root",
            )
        yield first
        yield from items

    def skipped(self) -> Iterator[str]:
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = [name for name in subfolders if Path(folder, name) != self._masks]
            for name in names:
                file = Path(folder, name)
                if not (_is_photograph(name) or _is_of_system(name) or file == self._classes):
                    yield file.relative_to(self.root).as_posix()

    def _items(self, folder: str) -> Iterator[Item]:
        """List the photographs of a folder and its subfolders, sorted by path.

        The memory holds only the names of the folder at hand and of its parent folders.
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
        """Return the name of a possible photograph, or of a folder with a slash; None for other entries.

        With the slash, the sorted names have the order of the sorted paths below them.
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
        return entry.name if _is_photograph(entry.name) else None

    def _mask_file(self, stem: str) -> str | None:
        if self._masks is None:
            return None
        for suffix in _MASK_SUFFIXES:
            mask = self._masks / f"{stem}{suffix}"
            if _exists(mask):  # of any kind: the index refuses it with a reason if it is not a mask
                return str(mask)  # absolute, so root / mask is this path
        return None


def _exists(path: Path) -> bool:
    """Whether the path exists. ``os.path.lexists`` also returns False for errors that a retry may fix."""
    try:
        path.lstat()
    except OSError as error:
        if not is_lasting(error):
            raise
        return False
    return True


def _is_photograph(name: str) -> bool:
    """Whether a file with this name may be a photograph."""
    return Path(name).suffix.lower() in _listed_suffixes() and not _is_of_system(name)


def _is_of_system(name: str) -> bool:
    return name.lower().startswith(_OF_SYSTEMS)


@cache
def _listed_suffixes() -> set[str]:
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return known | _OTHER_SUFFIXES


def _stem(file: str) -> str:
    """Remove the suffix of a file's path, unless only dots would be left of its name."""
    stem = file.removesuffix(Path(file).suffix)
    return file if stem.rpartition("/")[2].strip(".") == "" else stem


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        lines = decode_text(read_file(path)).splitlines()
    except OSError as error:
        raise InvalidDatasetError(f"the class names {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidDatasetError(f"the class names {path} cannot be read: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not 2 <= len(names) <= 255:
        raise InvalidDatasetError(
            f"{path} has {len(names)} class names; it needs the background and 1 to 254 other classes"
        )
    for name in names:
        if has_control_character(name):
            raise InvalidDatasetError(f"{path} has the class name {name!r}; remove its control character")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InvalidDatasetError(f"{path} has the class name {repeated[0]!r} twice; name each class once")
    return names
