"""PASCAL VOC 2012 in the folder layout that torchvision downloads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.errors import InvalidDatasetError

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train",
    "tv monitor",
)  # fmt: skip
_FOLDER = Path("VOCdevkit") / "VOC2012"
# train_aug is VOC's train with the masks of SBD. Two names of its list are in use.
_LISTS = {"train_aug": ("train_aug.txt", "trainaug.txt")}
_MASK_FOLDERS = {"train_aug": "SegmentationClassAug"}


class VOC2012Options(DatasetOptions):
    """PASCAL VOC 2012."""

    name: Literal["voc2012"] = "voc2012"
    root: Path = Field(
        description="Folder that holds ``VOCdevkit/VOC2012``; torchvision calls it ``root`` as well."
    )
    train_split: Literal["train_aug", "train", "trainval"] | None = Field(
        None, description="Split to train on; empty: ``train_aug`` if its list is there, else ``train``."
    )
    evaluate_split: Literal["val", "train", "trainval"] = Field("val", description="Split to evaluate on.")
    download: bool = Field(False, description="Download the data set with torchvision if it is missing.")

    @property
    def has_classes(self) -> bool:
        return True

    def open(self) -> VOC2012Dataset:
        return VOC2012Dataset(self.root, self.train_split, self.evaluate_split, self.download)


class VOC2012Dataset(Dataset):
    """PASCAL VOC 2012 with 20 classes and background. Pixels with the label 255 (void) are ignored.

    Args:
        root: folder that holds ``VOCdevkit/VOC2012``; torchvision calls it ``root`` as well.
        train_split: ``train_aug``, ``train`` or ``trainval``; None takes ``train_aug`` if its list is there,
            else ``train``.
        evaluate_split: ``val``, ``train`` or ``trainval``.
        download: download the data set with torchvision if it is missing.

    Raises:
        InvalidDatasetError: the data set or the masks of ``train_aug`` are not there, or the download failed.

    """

    class_names = CLASS_NAMES

    def __init__(
        self, root: Path, train_split: str | None = None, evaluate_split: str = "val", download: bool = False
    ) -> None:
        folder = root / _FOLDER
        if download and not folder.is_dir():
            _download(root)
        if not folder.is_dir():
            raise InvalidDatasetError(
                f"there is no {folder}; give the folder that holds {_FOLDER.as_posix()} as root, or set "
                f"download to true",
                parameter="root",
            )
        self.root = folder
        self._lists = folder / "ImageSets" / "Segmentation"
        augmented = any((self._lists / name).is_file() for name in _LISTS["train_aug"])
        self.train_split = train_split or ("train_aug" if augmented else "train")
        self.evaluate_split = evaluate_split
        masks = folder / _MASK_FOLDERS["train_aug"]
        if self.train_split == "train_aug" and not masks.is_dir():
            raise InvalidDatasetError(
                f"the split train_aug needs the masks of SBD in {masks}; put them there, or choose the split "
                f"train",
                parameter="train_split",
            )

    def items(self) -> Iterator[Item]:
        members: dict[str, list[str]] = {}
        for split in dict.fromkeys((self.train_split, self.evaluate_split)):
            for name in self._read_list(split):
                members.setdefault(name, []).append(split)
        for name, splits in sorted(members.items()):
            yield Item(name, f"JPEGImages/{name}.jpg", self._mask_file(name, splits[0]), tuple(splits))

    def _mask_file(self, name: str, split: str) -> str | None:
        folders = [_MASK_FOLDERS[split]] if split in _MASK_FOLDERS else []
        for folder in [*folders, "SegmentationClass"]:
            if os.path.lexists(self.root / folder / f"{name}.png"):
                return f"{folder}/{name}.png"
        return None

    def _read_list(self, split: str) -> list[str]:
        names = _LISTS.get(split, (f"{split}.txt",))
        for name in names:
            if (self._lists / name).is_file():
                try:
                    return (self._lists / name).read_text().split()
                except UnicodeDecodeError as error:
                    raise InvalidDatasetError(
                        f"{self._lists / name} is not a text file with one id per line: {error}"
                    ) from error
        raise InvalidDatasetError(
            f"there is no list {self._lists / names[0]}; the split {split!r} needs it"
            + (
                " (and its masks in SegmentationClassAug): they come with SBD; get them, or choose train"
                if split == "train_aug"
                else ""
            ),
            parameter="train_split" if split == self.train_split else "evaluate_split",
        )


def _download(root: Path) -> None:
    from torchvision.datasets import VOCSegmentation

    root.mkdir(parents=True, exist_ok=True)
    try:
        VOCSegmentation(str(root), year="2012", image_set="trainval", download=True)
    except (OSError, RuntimeError) as error:
        raise InvalidDatasetError(
            f"PASCAL VOC 2012 could not be downloaded to {root}: {error}\nWithout network, unpack "
            f"VOCtrainval_11-May-2012.tar there yourself",
            parameter="root",
        ) from error
