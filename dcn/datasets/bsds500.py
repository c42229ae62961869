"""BSDS500: photographs with regions that several annotators drew, without classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.datasets.mat_file import read_mat
from dcn.errors import InvalidDatasetError, InvalidMaskError
from dcn.images.files import is_lasting, read_file

_FOLDER = Path("BSR") / "BSDS500" / "data"


class BSDS500Options(DatasetOptions):
    """The Berkeley Segmentation Data Set: regions that several annotators drew, without classes."""

    name: Literal["bsds500"] = "bsds500"
    root: Path = Field(description="Folder that holds ``BSR/BSDS500/data``.")
    train_split: Literal["train", "val", "test"] = Field("train", description="Split to train on.")
    evaluate_split: Literal["train", "val", "test"] = Field("test", description="Split to evaluate on.")

    @property
    def has_classes(self) -> bool:
        return False

    def open(self) -> BSDS500Dataset:
        return BSDS500Dataset(self.root, self.train_split, self.evaluate_split)


class BSDS500Dataset(Dataset):
    """The Berkeley Segmentation Data Set. ``train``, ``val`` and ``test`` have 200, 100 and 200 photographs.

    There are no classes: the true regions of :meth:`read_segmentations` are the ground truth. An id is
    ``split/name``.

    Args:
        root: folder that holds ``BSR/BSDS500/data``, where ``BSR_bsds500.tgz`` was unpacked.
        train_split: ``train``, ``val`` or ``test``.
        evaluate_split: ``train``, ``val`` or ``test``. Published metrics are those of ``test``.

    Raises:
        InvalidDatasetError: the folder is not there.

    """

    class_names = ()
    has_segmentations = True

    def __init__(self, root: Path, train_split: str = "train", evaluate_split: str = "test") -> None:
        folder = root / _FOLDER
        if not folder.is_dir():
            raise InvalidDatasetError(
                f"there is no {folder}; give the folder that holds {_FOLDER.as_posix()} as root, where "
                f"BSR_bsds500.tgz was unpacked",
                parameter="root",
            )
        self.root = folder
        self.train_split = train_split
        self.evaluate_split = evaluate_split

    def items(self) -> Iterator[Item]:
        for split in sorted({self.train_split, self.evaluate_split}):
            files = sorted((self.root / "images" / split).glob("*.jpg"))
            if not files:
                raise InvalidDatasetError(
                    f"there are no photographs (*.jpg) in {self.root / 'images' / split}; the split "
                    f"{split!r} needs them"
                )
            for file in files:
                yield Item(f"{split}/{file.stem}", f"images/{split}/{file.name}", None, (split,))

    def truth_file(self, item: Item) -> str:
        return f"groundTruth/{item.id}.mat"

    def read_segmentations(self, item: Item, height: int, width: int) -> list[npt.NDArray[np.uint16]]:
        path = self.root / self.truth_file(item)
        try:
            content = read_file(path)
        except FileNotFoundError as error:
            raise InvalidMaskError(f"there is no {path}; copy it from BSR_bsds500.tgz") from error
        except OSError as error:
            if not is_lasting(error):
                raise
            raise InvalidMaskError(f"{path} cannot be read: {error.strerror}") from error
        try:
            cells = read_mat(content, "groundTruth")
        except ValueError as error:
            raise InvalidMaskError(f"{path} {error}") from error
        if cells is None or not cells.size:
            raise InvalidMaskError(f"{path} has no groundTruth; copy the file of BSDS500 again")
        return [_segmentation(path, cell, height, width) for cell in cells.ravel()]


def _segmentation(path: Path, cell: object, height: int, width: int) -> npt.NDArray[np.uint16]:
    """Read the regions in one cell of ``groundTruth``, a 1 x 1 struct with a field ``Segmentation``."""
    if not isinstance(cell, np.ndarray) or "Segmentation" not in (cell.dtype.names or ()) or cell.size != 1:
        raise InvalidMaskError(f"{path} has an annotation without Segmentation; copy the file again")
    regions = cell["Segmentation"].item()
    if not isinstance(regions, np.ndarray) or not np.can_cast(regions.dtype, np.uint16):
        raise InvalidMaskError(
            f"{path} has a Segmentation that is not an array of 16-bit integers; copy the file again"
        )
    if regions.shape != (height, width):
        raise InvalidMaskError(
            f"{path} has a Segmentation of shape {regions.shape}, its photograph {(height, width)}; "
            f"copy both files again"
        )
    if not regions.any():
        raise InvalidMaskError(
            f"{path} has a Segmentation in which every pixel is 0, unlabeled; copy the file again"
        )
    return regions.astype(np.uint16)
