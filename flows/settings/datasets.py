"""Settings of each data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dcn.options import Options


class SampleSettings(Options):
    """The eight photographs that come with scikit-image and scikit-learn."""

    name: Literal["sample"] = "sample"


class VOC2012Settings(Options):
    """PASCAL VOC 2012."""

    name: Literal["voc2012"] = "voc2012"
    root: Path = Field(description="what torchvision calls root: the folder that holds VOCdevkit/VOC2012")
    train_split: Literal["train_aug", "train", "trainval"] | None = Field(
        None, description="empty: train_aug where its list is, else train"
    )
    evaluate_split: Literal["val", "train", "trainval"] = Field("val", description="to evaluate on")
    download: bool = Field(False, description="fetch it with torchvision where it is missing")


class FolderSettings(Options):
    """Any folder of photographs."""

    name: Literal["folder"] = "folder"
    root: Path = Field(description="folder of photographs, with subfolders")
    masks: Path | None = Field(None, description="folder of masks, named like the photographs")
    classes: Path | None = Field(None, description="text file of class names; the first is the background")


class BSDS500Settings(Options):
    """The Berkeley Segmentation Data Set: regions that several people drew, without classes."""

    name: Literal["bsds500"] = "bsds500"
    root: Path = Field(description="the folder that holds BSR/BSDS500/data")
    train_split: Literal["train", "val", "test"] = Field("train", description="to train on")
    evaluate_split: Literal["train", "val", "test"] = Field("test", description="to evaluate on")


DatasetSettings = Annotated[
    SampleSettings | VOC2012Settings | FolderSettings | BSDS500Settings, Field(discriminator="name")
]
