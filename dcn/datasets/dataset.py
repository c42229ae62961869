"""The interface of a data set: its options, its photographs with ids and splits, and its ground truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcn.errors import InvalidDatasetError, InvalidMaskError
from dcn.images.files import is_lasting, read_file
from dcn.images.photograph import check_mask, decode_mask
from dcn.options import Options


@dataclass(frozen=True)
class Item:
    """One photograph of a data set.

    Attributes:
        id: unique in the data set; a relative path without ``..``.
        image: file of the photograph, relative to the data set's root, with ``/``.
        mask: file of its ground truth, likewise; None where there is none.
        splits: names of the splits it belongs to.

    Raises:
        InvalidDatasetError: the id or the image would lie outside of the data set.

    """

    id: str
    image: str
    mask: str | None
    splits: tuple[str, ...]

    def __post_init__(self) -> None:
        for path in (self.id, self.image):
            if path.startswith("/") or ".." in path.split("/") or "\0" in path:
                raise InvalidDatasetError(
                    f"the data set names a photograph {self.id!r}, which would lie outside of its folder; an "
                    f"id is a name, or a relative path without '..'"
                )


class DatasetOptions(Options, ABC):
    """Base class of the options of a data set: its name in configurations, where its files are, its splits.

    A new data set is one module with a subclass of this class and one of :class:`Dataset`, and one line in
    :data:`dcn.datasets.DATASETS`. Settings and documentation follow from that table.

    Attributes:
        name: name of the data set in configurations. Give it the type ``Literal["..."]``.

    """

    name: str

    @abstractmethod
    def open(self) -> Dataset:
        """Open the data set.

        Raises:
            InvalidDatasetError: the data set is not there.

        """


class Dataset(ABC):
    """A data set.

    Attributes:
        root: folder that the files of its items are relative to.
        class_names: name of each class; the first is the background. Empty without ground truth.
        ignore_label: label of pixels that count nowhere.
        has_segmentations: its ground truth are regions without classes, see :meth:`read_segmentations`.
        train_split: split that the DCN is trained on.
        evaluate_split: split that the evaluations look at.

    """

    root: Path
    class_names: tuple[str, ...]
    ignore_label: int = 255
    has_segmentations: bool = False
    train_split: str
    evaluate_split: str

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """The photographs of both splits, in the order of their ids.

        Raises:
            InvalidDatasetError: the data set is not there.

        """

    def truth_file(self, item: Item) -> str | None:
        """File of the ground truth of a photograph, relative to the root; it need not be there."""
        return item.mask

    def read_mask(self, item: Item, height: int, width: int) -> npt.NDArray[np.uint8] | None:
        """Ground truth ``[height, width]`` of a photograph of this size, None where there is none.

        Raises:
            InvalidMaskError: with what is wrong with it.
            OSError: it cannot be read just now.

        """
        if item.mask is None:
            return None
        try:
            content = read_file(self.root / item.mask)
        except OSError as error:
            if not is_lasting(error):
                raise
            raise InvalidMaskError(error.strerror or str(error)) from error
        mask = decode_mask(content)
        check_mask(mask, height, width, len(self.class_names), self.ignore_label)
        return mask

    def read_segmentations(self, item: Item, height: int, width: int) -> list[npt.NDArray[np.uint16]]:
        """Regions without classes ``[height, width]``, one of each annotator; none in most data sets.

        Regions count from 1; 0 is unlabelled.

        Raises:
            InvalidMaskError: with the file and what is wrong with it.

        """
        return []
