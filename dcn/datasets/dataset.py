"""The interface of a data set: its options, its photographs with ids and splits, and its ground truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dcn.errors import InvalidDatasetError, InvalidMaskError
from dcn.images.files import is_lasting, read_file
from dcn.images.mask_values import MaskValues
from dcn.images.palette import CLASS_PALETTES, PaletteName
from dcn.images.photograph import check_mask, decode_mask, decode_photograph
from dcn.options import Options


@dataclass(frozen=True)
class Item:
    """One photograph of a data set.

    Attributes:
        id: name of the photograph, unique in the data set; a relative path without ``..``.
        image: file of the photograph, relative to the root of the data set, with ``/``.
        mask: file of its mask, relative to the root of the data set, with ``/``; None without a mask.
        splits: names of the splits that the photograph belongs to.

    Raises:
        InvalidDatasetError: the id or the image would lie outside the data set.

    """

    id: str
    image: str
    mask: str | None
    splits: tuple[str, ...]

    def __post_init__(self) -> None:
        for path in (self.id, self.image):
            if path.startswith("/") or ".." in path.split("/") or "\0" in path:
                raise InvalidDatasetError(
                    f"the data set names a photograph {self.id!r}, which would lie outside its folder; use a "
                    f"name, or a relative path without '..'"
                )


class DatasetOptions(Options, ABC):
    """Base class of the options of a data set: its name in configurations, where its files are, its splits.

    A new data set is one module with a subclass of this class and one of :class:`Dataset`, and one line in
    :data:`dcn.datasets.DATASETS`. Settings and documentation follow from that table.

    Attributes:
        name: name of the data set in configurations. Give it the type ``Literal["..."]``.

    """

    name: str

    @property
    def title(self) -> str:
        """Name of the photographs for people: of a folder the name that it has on the disk."""
        return self.name

    @property
    @abstractmethod
    def has_classes(self) -> bool:
        """Whether the data set has masks with classes. It is known before any file is read."""

    @abstractmethod
    def open(self) -> Dataset:
        """Open the data set.

        Raises:
            InvalidDatasetError: the data set is not there.

        """


class Dataset(ABC):
    """Base class of all data sets: lists the photographs of two splits and reads their ground truth.

    Attributes:
        root: folder of the files. The paths of items are relative to it.
        class_names: name of each class; the first is the background. Empty without classes.
        ignore_label: label of pixels that no metric counts.
        mask_values: class of each value of a mask; None where the values are class indices.
        has_segmentations: the ground truth is regions without classes, see :meth:`read_segmentations`.
        train_split: split to train on.
        evaluate_split: split to evaluate on.

    """

    root: Path
    class_names: tuple[str, ...]
    ignore_label: int = 255
    mask_values: MaskValues | None = None
    has_segmentations: bool = False
    palette_name: ClassVar[PaletteName] = "category"
    train_split: str
    evaluate_split: str

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """Colors of the classes, ``[256, 3]`` uint8."""
        return CLASS_PALETTES[self.palette_name](self.ignore_label)

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """List the photographs of both splits, sorted by id.

        Raises:
            InvalidDatasetError: the data set is not there.

        """

    def skipped(self) -> Iterator[str]:
        """List the files of a folder that are no photographs, relative to the root, with ``/``.

        A data set that names its photographs in lists has none.
        """
        return iter(())

    def truth_file(self, item: Item) -> str | None:
        """Return the ground-truth file of a photograph, relative to the root. The file may not exist."""
        return item.mask

    def decode_photograph(self, content: bytes, smallest_side: int | None = None) -> npt.NDArray[np.uint8]:
        """Decode the file of a photograph to RGB, see :func:`dcn.images.photograph.decode_photograph`."""
        return decode_photograph(content, smallest_side)

    def decode_mask(self, content: bytes) -> npt.NDArray[np.uint8]:
        """Decode the file of a mask to class indices, see :func:`dcn.images.photograph.decode_mask`."""
        return decode_mask(content, self.mask_values)

    def read_mask(self, item: Item, height: int, width: int) -> npt.NDArray[np.uint8] | None:
        """Read the mask of a photograph, and check its size and its labels.

        Args:
            item: the photograph.
            height: its height in pixels.
            width: its width in pixels.

        Returns:
            ``[height, width]`` class of each pixel; None for a photograph without a mask.

        Raises:
            InvalidMaskError: the mask cannot be used; the message has the reason.
            OSError: the file cannot be read now, but a retry may succeed.

        """
        if item.mask is None:
            return None
        try:
            content = read_file(self.root / item.mask)
        except OSError as error:
            if not is_lasting(error):
                raise
            raise InvalidMaskError(error.strerror or str(error)) from error
        mask = self.decode_mask(content)
        check_mask(mask, height, width, len(self.class_names), self.ignore_label)
        return mask

    def check_labels(self, labels: Set[int]) -> None:  # noqa: B027 - most data sets have nothing to check
        """Check the labels of all masks together, where each mask alone may be right.

        Args:
            labels: the labels that occur in any mask of the data set.

        Raises:
            InvalidDatasetError: the masks mean something else; the message says what to set.

        """

    def read_segmentations(self, item: Item, height: int, width: int) -> list[npt.NDArray[np.uint16]]:
        """Read the true regions of a photograph, without classes. Most data sets have none.

        Args:
            item: the photograph.
            height: its height in pixels.
            width: its width in pixels.

        Returns:
            For each annotator ``[height, width]``: the region of each pixel, from 1; 0 is unlabeled.

        Raises:
            InvalidMaskError: the regions cannot be used; the message names the file and the reason.
            OSError: the file cannot be read now, but a retry may succeed.

        """
        return []
