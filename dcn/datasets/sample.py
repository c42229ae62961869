"""The sample: eight photographs from scikit-image and scikit-learn, with hand-drawn polygons."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.errors import InvalidDatasetError

_ANNOTATIONS = "sample.json"
_SPLIT = "all"


class SampleOptions(DatasetOptions):
    """The eight photographs that come with scikit-image and scikit-learn."""

    name: Literal["sample"] = "sample"

    @property
    def has_classes(self) -> bool:
        return True

    def open(self) -> SampleDataset:
        return SampleDataset()


class SampleDataset(Dataset):
    """The photographs chelsea, astronaut, coffee, rocket, motorcycle (two views), china and flower.

    There is one split, ``all``. The polygons are exact to a few pixels. Pixels that are neither an object of
    a class nor clearly background, such as the astronaut's helmet, have the ignore label.
    """

    train_split = _SPLIT
    evaluate_split = _SPLIT

    def __init__(self) -> None:
        text = resources.files("dcn.datasets").joinpath(_ANNOTATIONS).read_text()
        annotations = json.loads(text)
        self.class_names = tuple(annotations["classes"])
        self.ignore_label = annotations["ignore_label"]
        self._photographs = {photograph["id"]: photograph for photograph in annotations["photographs"]}
        self.root = _site_packages()

    def items(self) -> Iterator[Item]:
        for name, photograph in sorted(self._photographs.items()):
            file = f"{photograph['package']}/{photograph['file']}"
            yield Item(name, image=file, mask=None, splits=(_SPLIT,))

    def read_mask(self, item: Item, height: int, width: int) -> npt.NDArray[np.uint8]:
        canvas = Image.new("L", (width, height), 0)
        draw = ImageDraw.Draw(canvas)
        for drawn in self._photographs[item.id]["objects"]:
            ignored = drawn["class"] == "ignore"
            label = self.ignore_label if ignored else self.class_names.index(drawn["class"])
            draw.polygon([tuple(point) for point in drawn["polygon"]], fill=label)
        return np.asarray(canvas)


def _site_packages() -> Path:
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise InvalidDatasetError(
            "the sample photographs come with scikit-image, which is missing: pip install scikit-image"
        )
    return Path(spec.submodule_search_locations[0]).parent
