"""Any folder of photographs, optionally with a folder of masks and a file of class names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from dcn.datasets.dataset import Dataset, Item
from dcn.errors import InvalidDatasetError

_SPLIT = "all"
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")


class FolderDataset(Dataset):
    """The image files of a folder and its subfolders; there is one split, ``all``.

    An id is the path below the folder without its suffix, or with it where two files differ in nothing
    else. A file with the suffix of an image that is none is listed too, so that the index can refuse it.

    Args:
        root: the folder.
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
        files = sorted(self._image_files())
        if not files:
            raise InvalidDatasetError(f"there is no image in {self.root} or its subfolders")
        stems = Counter(str(PurePosixPath(file).with_suffix("")) for file in files)
        for file in files:
            stem = str(PurePosixPath(file).with_suffix(""))
            name = stem if stems[stem] == 1 else file
            yield Item(name, file, self._mask_file(stem), (_SPLIT,))

    def _image_files(self) -> Iterator[str]:
        suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
        for path in self.root.rglob("*"):
            inside_masks = self._masks is not None and path.is_relative_to(self._masks)
            if path.suffix.lower() in suffixes and path.is_file() and not inside_masks:
                yield path.relative_to(self.root).as_posix()

    def _mask_file(self, stem: str) -> str | None:
        if self._masks is None:
            return None
        for suffix in _MASK_SUFFIXES:
            mask = self._masks / f"{stem}{suffix}"
            if mask.is_file():
                return str(mask)  # absolute: root / mask is mask
        return None


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDatasetError(f"the class names {path} cannot be read: {error}") from error
    if not 2 <= len(names) <= 255:
        raise InvalidDatasetError(
            f"{path} has {len(names)} class names; it needs the background and 1 to 254 others"
        )
    return names
