"""The data set of a run, its photographs and its ground truth, as they were indexed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.datasets import Dataset
from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.images.files import is_lasting, read_file
from dcn.images.photograph import decode_photograph, squash
from flows.errors import name_parameters
from flows.inputs.image_index import IndexedImage, digest_truth
from flows.settings import AnyDataset
from storage.key import digest


def open_dataset(settings: AnyDataset) -> Dataset:
    """Open the data set that the settings name."""
    with name_parameters("setting dataset.{}"):
        return settings.open()


def read_photograph(dataset: Dataset, image: IndexedImage) -> npt.NDArray[np.uint8]:
    """Decode an indexed photograph to ``[H, W, 3]``.

    Raises:
        InvalidPhotographError: it is gone, or is not the file that was indexed.
        OSError: it cannot be read just now; what has read it should be tried again.

    """
    try:
        content = read_file(dataset.root / image.item.image)
    except OSError as error:
        if not is_lasting(error):
            raise
        raise InvalidPhotographError(f"it cannot be read any more: {error.strerror}") from error
    if digest(content) != image.digest:
        raise InvalidPhotographError("it was changed after it was indexed; run the pipeline again")
    return decode_photograph(content)


def read_mask(dataset: Dataset, image: IndexedImage) -> npt.NDArray[np.uint8] | None:
    """Ground truth ``[H, W]`` of an indexed photograph, None where there is none.

    Raises:
        InvalidMaskError: it is gone, or not what was indexed.

    """
    mask = dataset.read_mask(image.item, image.height, image.width) if image.labelled else None
    if mask is not None:
        _check_truth(image, [mask])
    return mask


def read_segmentations(dataset: Dataset, image: IndexedImage) -> list[npt.NDArray[np.uint16]]:
    """Regions ``[H, W]`` that annotators drew of an indexed photograph.

    Raises:
        InvalidMaskError: they are gone, or not what was indexed.

    """
    segmentations = dataset.read_segmentations(image.item, image.height, image.width)
    _check_truth(image, segmentations)
    return segmentations


def _check_truth(image: IndexedImage, drawn: Sequence[npt.NDArray[Any]]) -> None:
    if digest_truth(drawn) != image.truth_digest:
        raise InvalidMaskError("it was changed after it was indexed; run the pipeline again")


def read_squashed(
    dataset: Dataset, size: int, image: IndexedImage
) -> tuple[IndexedImage, npt.NDArray[np.uint8] | None, str]:
    """A photograph as a square ``[size, size, 3]`` (section 4.1.2), or None and why it cannot be read."""
    try:
        return image, squash(read_photograph(dataset, image), size), ""
    except InvalidPhotographError as error:
        return image, None, str(error)
