"""Potsdam-3: crops of aerial photographs with 3 classes, as IIC prepares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from dcn.datasets.benchmark import BenchmarkDataset, BenchmarkOptions, numbered, read_lines
from dcn.datasets.dataset import Item
from dcn.datasets.mat_file import read_mat
from dcn.errors import InvalidMaskError, InvalidPhotographError

# The labels of the authors are roads 0, buildings 1, vegetation 2, trees 3, cars 4, clutter 5.
_CLASSES = {"roads and cars": (0, 4), "buildings and clutter": (1, 5), "vegetation and trees": (2, 3)}
_SOURCE = (
    "make it of the Potsdam tiles of ISPRS with potsdam_prepare.py of github.com/xu-ji/IIC, or take the data "
    "set potsdam of STEGO"
)
_UNLABELLED = "unlabelled_train"

Split = Literal["labelled_train", "unlabelled_train", "labelled_test"]


class Potsdam3Options(BenchmarkOptions):
    """Potsdam-3: crops of aerial photographs."""

    name: Literal["potsdam3"] = "potsdam3"
    root: Path = Field(description="Folder that holds ``imgs``, ``gt`` and the lists ``labelled_train.txt``.")
    train_split: Split = Field("labelled_train", description="Split to train on.")
    evaluate_split: Split = Field("labelled_test", description="Split to evaluate on.")

    def open(self) -> Potsdam3Dataset:
        return Potsdam3Dataset(self.root, self.train_split, self.evaluate_split)


class Potsdam3Dataset(BenchmarkDataset):
    """Potsdam-3: 8,550 crops of 200 x 200 pixels; 855 of them are ``labelled_test``, drawn at random by IIC.

    Crops and masks are MAT files: ``imgs/NAME.mat`` has ``img [200, 200, 4]``, whose last channel is infrared
    and not used, and ``gt/NAME.mat`` has ``gt [200, 200]``. The crops of ``unlabelled_train`` have no masks.
    """

    class_names, mask_values = numbered(_CLASSES)

    def names(self, split: str) -> Iterable[str]:
        for folder in ("imgs", "gt"):
            self.require(folder, _SOURCE)
        return read_lines(self.require(f"{split}.txt", _SOURCE))

    def files(self, name: str) -> tuple[str, str | None]:
        return f"imgs/{name}.mat", f"gt/{name}.mat"

    def items(self) -> Iterator[Item]:
        for item in super().items():
            yield replace(item, mask=None) if item.splits == (_UNLABELLED,) else item

    def decode_photograph(self, content: bytes, smallest_side: int | None = None) -> npt.NDArray[np.uint8]:
        try:
            crop = read_mat(content, "img")
        except ValueError as error:
            raise InvalidPhotographError(f"it {error}") from error
        if crop is None or crop.ndim != 3 or crop.shape[2] < 3 or crop.dtype != np.uint8 or not crop.size:
            raise InvalidPhotographError("it has no img of the shape [H, W, 4] in 8 bits; copy it again")
        return np.ascontiguousarray(crop[..., :3])

    def decode_mask(self, content: bytes) -> npt.NDArray[np.uint8]:
        try:
            labels = read_mat(content, "gt")
        except ValueError as error:
            raise InvalidMaskError(f"it {error}") from error
        if labels is None or labels.ndim != 2 or labels.dtype.kind not in "iu" or not labels.size:
            raise InvalidMaskError("it has no gt of the shape [H, W] in integers; copy it again")
        return self.mask_values.classes(Image.fromarray(labels.astype(np.int32)))
