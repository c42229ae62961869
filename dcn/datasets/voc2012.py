"""PASCAL VOC 2012 in the folder layout that torchvision downloads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.errors import InvalidDatasetError
from dcn.images.files import read_file
from dcn.text_files import decode_text

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train",
    "tv monitor",
)  # fmt: skip
_FOLDER = Path("VOCdevkit") / "VOC2012"
# train_aug is VOC's train with the masks of SBD. Two names of its list are in use.
_LISTS = {"train_aug": ("train_aug.txt", "trainaug.txt")}
_MASK_FOLDERS = {"train_aug": "SegmentationClassAug"}
# In the lists of other tools a line has the photograph and its mask, below the folder of the data set. In
# those of single classes it has an id and a label.
_IMAGE = re.compile(r"(?:(?:.*/)?JPEGImages/)?(?P<id>.+)\.jpg")
_MASK = re.compile(r"(?:.*/)?(?P<file>SegmentationClass[^/]*/[^/]+\.png)")
_LABELS = {"-1", "0", "1"}


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
    palette_name = "voc"

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
        masks: dict[str, str | None] = {}
        for split in dict.fromkeys((self.train_split, self.evaluate_split)):
            for name, mask in self._read_list(split).items():
                members.setdefault(name, []).append(split)
                masks.setdefault(name, mask or self._mask_file(name, split))
        for name, splits in sorted(members.items()):
            yield Item(name, f"JPEGImages/{name}.jpg", masks[name], tuple(splits))

    def _mask_file(self, name: str, split: str) -> str | None:
        folders = [_MASK_FOLDERS[split]] if split in _MASK_FOLDERS else []
        for folder in [*folders, "SegmentationClass"]:
            if os.path.lexists(self.root / folder / f"{name}.png"):
                return f"{folder}/{name}.png"
        return None

    def _read_list(self, split: str) -> dict[str, str | None]:
        """Read the ids of a split, each with its mask if the list names one."""
        names = _LISTS.get(split, (f"{split}.txt",))
        for name in names:
            if (self._lists / name).is_file():
                try:
                    lines = decode_text(read_file(self._lists / name)).splitlines()
                except ValueError as error:
                    raise InvalidDatasetError(
                        f"{self._lists / name} is not a text file with one id per line: {error}"
                    ) from error
                return dict(entry for line in lines for entry in self._entries(line.split(), name))
        raise InvalidDatasetError(
            f"there is no list {self._lists / names[0]}; the split {split!r} needs it"
            + (
                " (and its masks in SegmentationClassAug): they come with SBD; get them, or choose train"
                if split == "train_aug"
                else ""
            ),
            parameter="train_split" if split == self.train_split else "evaluate_split",
        )

    def _entries(self, columns: list[str], source: str) -> Iterator[tuple[str, str | None]]:
        """Read the columns of a line of a list: ids, or one id and the mask that the list names for it."""
        image = _IMAGE.fullmatch(columns[0]) if columns else None
        if image is None:
            ids = columns[:1] if columns[1:] and set(columns[1:]) <= _LABELS else columns
            yield from ((name, None) for name in ids)
            return
        mask = _MASK.fullmatch(columns[1]) if columns[1:] else None
        if columns[1:] and mask is None:
            raise InvalidDatasetError(
                f"{self._lists / source} names {columns[1]!r} as the mask of {image['id']!r}; write "
                f"SegmentationClass/NAME.png, or the id alone"
            )
        yield image["id"], mask["file"] if mask else None


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
