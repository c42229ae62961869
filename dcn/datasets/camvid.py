"""CamVid with the 11 classes and the splits of SegNet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from dcn.datasets.benchmark import BenchmarkDataset, BenchmarkOptions, numbered
from dcn.images.mask_values import value_code

_PHOTOGRAPHS, _MASKS = "701_StillsRaw_full", "LabeledApproved_full"
_UNPACK = "unpack {}.zip of web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData in a folder of this name"
# The labels of the authors by their colors. Void is black, and no class. Public tables disagree on Wall: some
# count it as building, as here, and others have no class for it.
_CLASSES = {
    "sky": {"Sky": "128 128 128"},
    "building": {
        "Building": "128 0 0", "Archway": "192 0 128", "Bridge": "0 128 64", "Tunnel": "64 0 64",
        "Wall": "64 192 0",
    },
    "pole": {"Column_Pole": "192 192 128", "TrafficCone": "0 0 64"},
    "road": {"Road": "128 64 128", "LaneMkgsDriv": "128 0 192", "LaneMkgsNonDriv": "192 0 64"},
    "pavement": {"Sidewalk": "0 0 192", "ParkingBlock": "64 192 128", "RoadShoulder": "128 128 192"},
    "tree": {"Tree": "128 128 0", "VegetationMisc": "192 192 0"},
    "sign symbol": {"SignSymbol": "192 128 128", "Misc_Text": "128 128 64", "TrafficLight": "0 64 64"},
    "fence": {"Fence": "64 64 128"},
    "car": {
        "Car": "64 0 128", "SUVPickupTruck": "64 128 192", "Truck_Bus": "192 128 192",
        "Train": "192 64 128", "OtherMoving": "128 64 64",
    },
    "pedestrian": {
        "Pedestrian": "64 64 0", "Child": "192 128 64", "CartLuggagePram": "64 0 192", "Animal": "64 128 64",
    },
    "bicyclist": {"Bicyclist": "0 128 192", "MotorcycleScooter": "192 0 192"},
}  # fmt: skip
# Sequence and number of a frame: 0001TP_006690, Seq05VD_f00930.
_FRAME = re.compile(r"(?P<sequence>\w+)_f?(?P<number>\d+)")
_VALIDATED = range(7959, 8160, 2)  # of the sequence 0016E5
_FIRST_TESTED = 8550  # of the sequence 0001TP

Split = Literal["train", "val", "test"]


class CamVidOptions(BenchmarkOptions):
    """CamVid: frames of a camera in a car, with 11 classes."""

    name: Literal["camvid"] = "camvid"
    root: Path = Field(description="Folder that holds ``701_StillsRaw_full`` and ``LabeledApproved_full``.")
    train_split: Split = Field("train", description="Split to train on.")
    evaluate_split: Split = Field("test", description="Split to evaluate on.")

    def open(self) -> CamVidDataset:
        return CamVidDataset(self.root, self.train_split, self.evaluate_split)


class CamVidDataset(BenchmarkDataset):
    """CamVid: 367, 101 and 233 photographs of ``train``, ``val`` and ``test``.

    The authors give no splits. These are the usual ones, which follow from sequence and number of a frame:
    ``test`` is the sequence Seq05VD and the second half of 0001TP, ``val`` is a part of 0016E5. The mask of
    ``NAME.png`` is ``NAME_L.png``, with a color for each of 32 labels. Other colors occur in few pixels, and
    are ignored like void.
    """

    class_names, mask_values = numbered(
        {name: map(value_code, colors.values()) for name, colors in _CLASSES.items()}
    )

    def names(self, split: str) -> Iterable[str]:
        self.require(_MASKS, _UNPACK.format(_MASKS))
        found = self.find(_PHOTOGRAPHS, "*.png", _UNPACK.format(_PHOTOGRAPHS))
        return (name for name in found if _split(name) == split)

    def files(self, name: str) -> tuple[str, str | None]:
        return f"{_PHOTOGRAPHS}/{name}.png", f"{_MASKS}/{name}_L.png"


def _split(name: str) -> Split:
    frame = _FRAME.fullmatch(name)
    if frame is None:
        return "train"
    sequence, number = frame["sequence"], int(frame["number"])
    if sequence == "Seq05VD" or (sequence == "0001TP" and number >= _FIRST_TESTED):
        return "test"
    return "val" if sequence == "0016E5" and number in _VALIDATED else "train"
