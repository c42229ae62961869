"""COCO-Stuff with the 27 coarse classes of IIC, PiCIE and STEGO."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field

from dcn.datasets.benchmark import BenchmarkDataset, BenchmarkOptions, numbered, read_lines

# The coarse classes of the label hierarchy of COCO-Stuff, and the labels of each with their ids. The
# annotations of COCO-Stuff by H. Caesar, J. Uijlings and V. Ferrari are licensed under CC BY 4.0.
_HIERARCHY: dict[str, dict[str, int]] = json.loads(
    resources.files("dcn.datasets").joinpath("coco_stuff27.json").read_text()
)
# Lists of photographs that are mostly stuff: IIC made them, and PiCIE and STEGO evaluate on the first one.
_LISTS = ("Coco164kFull_Stuff_Coarse_7.txt", "Coco164kFull_Stuff_Coarse.txt")

Split = Literal["train2017", "val2017"]


class CocoStuff27Options(BenchmarkOptions):
    """COCO-Stuff, with 12 classes of things and 15 of stuff."""

    name: Literal["coco_stuff27"] = "coco_stuff27"
    root: Path = Field(
        description="Folder that holds ``images`` and ``annotations``. If it holds ``curated``, the "
        "photographs are those of the lists there."
    )
    train_split: Split = Field("train2017", description="Split to train on.")
    evaluate_split: Split = Field("val2017", description="Split to evaluate on.")

    def open(self) -> CocoStuff27Dataset:
        return CocoStuff27Dataset(self.root, self.train_split, self.evaluate_split)


class CocoStuff27Dataset(BenchmarkDataset):
    """COCO-Stuff: 118,287 photographs of ``train2017`` and 5,000 of ``val2017``. An id is ``split/name``.

    The masks are those of ``stuffthingmaps_trainval2017.zip``: id minus 1 of each of the 182 labels, and 255
    without a label. If there is a list ``curated/SPLIT/Coco164kFull_Stuff_Coarse_7.txt``, the split has the
    photographs of that list: 49,629 and 2,175. If it is missing, ``Coco164kFull_Stuff_Coarse.txt`` takes its
    place: 97,702 and 4,172.
    """

    class_names, mask_values = numbered(
        {name: [label - 1 for label in labels.values()] for name, labels in _HIERARCHY.items()}
    )

    def names(self, split: str) -> Iterable[str]:
        archive = "stuffthingmaps_trainval2017.zip of github.com/nightrome/cocostuff"
        self.require(f"annotations/{split}", f"unpack {archive} in {self.root / 'annotations'}")
        unpack = f"unpack {split}.zip of cocodataset.org in {self.root / 'images'}"
        self.require(f"images/{split}", unpack)
        lists = (self.root / "curated" / split / name for name in _LISTS)
        curated = next((path for path in lists if path.is_file()), None)
        names = read_lines(curated) if curated else self.find(f"images/{split}", "*.jpg", unpack)
        return (f"{split}/{name}" for name in names)

    def files(self, name: str) -> tuple[str, str | None]:
        return f"images/{name}.jpg", f"annotations/{name}.png"
