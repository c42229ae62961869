"""Cityscapes with the 27 classes of PiCIE and STEGO."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from dcn.datasets.benchmark import BenchmarkDataset, BenchmarkOptions, numbered

# The labels 7 to 33 of the authors, in order. Those before are void, and license plates are not drawn.
_FIRST = 7
_CLASSES = (
    "road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge",
    "tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person",
    "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
_UNPACK = "unpack {} of cityscapes-dataset.com in the root"

Split = Literal["train", "val"]


class Cityscapes27Options(BenchmarkOptions):
    """Cityscapes, with all 27 classes that are not void."""

    name: Literal["cityscapes27"] = "cityscapes27"
    root: Path = Field(description="Folder that holds ``leftImg8bit`` and ``gtFine``.")
    train_split: Split = Field("train", description="Split to train on.")
    evaluate_split: Split = Field("val", description="Split to evaluate on.")

    def open(self) -> Cityscapes27Dataset:
        return Cityscapes27Dataset(self.root, self.train_split, self.evaluate_split)


class Cityscapes27Dataset(BenchmarkDataset):
    """Cityscapes: 2,975 photographs of ``train`` and 500 of ``val``. An id is ``split/city/name``.

    The masks are ``gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png`` with the label ids of the authors.
    """

    class_names, mask_values = numbered({name: [_FIRST + index] for index, name in enumerate(_CLASSES)})

    def names(self, split: str) -> Iterable[str]:
        self.require(f"gtFine/{split}", _UNPACK.format("gtFine_trainvaltest.zip"))
        unpack = _UNPACK.format("leftImg8bit_trainvaltest.zip")
        found = self.find(f"leftImg8bit/{split}", "*/*_leftImg8bit.png", unpack)
        return (f"{split}/{name}" for name in found)

    def files(self, name: str) -> tuple[str, str | None]:
        return f"leftImg8bit/{name}_leftImg8bit.png", f"gtFine/{name}_gtFine_labelIds.png"
