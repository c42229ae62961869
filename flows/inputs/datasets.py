"""Reading of the photographs and the ground truth of a run, checked against the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.datasets import Dataset
from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.images.files import is_lasting, read_file
from dcn.images.photograph import squash
from flows.errors import name_parameters
from flows.inputs.image_index import IndexedImage, digest_truth
from flows.settings import AnyDataset, Settings
from storage.key import digest

# What stands behind the last dot of a longer name is a part of the name.
_LONGEST_ENDING = 10


def open_dataset(settings: AnyDataset) -> Dataset:
    """Open the data set that the settings name."""
    with name_parameters("setting dataset.{}"):
        return settings.open()


def skipped_files(settings: Settings) -> dict[str, int]:
    """Count the files in the folder of the data set that are no photographs, by ending.

    The most frequent ending comes first. It is lower case and has no dot: ``xmp``. The files of the workspace
    do not count.
    """
    dataset, workspace = open_dataset(settings.dataset), Path(settings.workspace).absolute()
    files = (file for file in dataset.skipped() if not (dataset.root / file).is_relative_to(workspace))
    endings = Counter(map(_ending, files))
    return dict(sorted(endings.items(), key=lambda counted: (-counted[1], counted[0])))


def _ending(file: str) -> str:
    ending = Path(file).suffix[1:].lower()
    return ending if ending.isalnum() and len(ending) <= _LONGEST_ENDING else "without ending"


def read_photograph(
    dataset: Dataset, image: IndexedImage, smallest_side: int | None = None
) -> npt.NDArray[np.uint8]:
    """Read an indexed photograph, ``[H, W, 3]`` uint8 RGB.

    Args:
        dataset: the data set.
        image: its entry of the index.
        smallest_side: see :func:`dcn.images.photograph.decode_photograph`.

    Raises:
        InvalidPhotographError: the file is gone, or it changed after it was indexed.
        OSError: the file cannot be read now, but a retry may succeed.

    """
    try:
        content = read_file(dataset.root / image.item.image)
    except OSError as error:
        if not is_lasting(error):
            raise
        raise InvalidPhotographError(f"it cannot be read any more: {error.strerror}") from error
    if digest(content) != image.digest:
        raise InvalidPhotographError("it was changed after it was indexed; run the pipeline again")
    return dataset.decode_photograph(content, smallest_side)


def read_mask(dataset: Dataset, image: IndexedImage) -> npt.NDArray[np.uint8] | None:
    """Read the mask ``[H, W]`` of an indexed photograph; None without usable ground truth.

    Raises:
        InvalidMaskError: the mask is gone, or it changed after it was indexed.
        OSError: the file cannot be read now, but a retry may succeed.

    """
    mask = dataset.read_mask(image.item, image.height, image.width) if image.labelled else None
    if mask is not None:
        _check_truth(image, [mask])
    return mask


def read_segmentations(dataset: Dataset, image: IndexedImage) -> list[npt.NDArray[np.uint16]]:
    """Read the true regions of an indexed photograph, ``[H, W]`` for each annotator.

    Raises:
        InvalidMaskError: the regions are gone, or they changed after they were indexed.

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
    """Read an indexed photograph and resize it to a square (section 4.1.2).

    Returns:
        The given image; its pixels ``[size, size, 3]``, or None if it cannot be read; and the reason, or "".

    Raises:
        OSError: the file cannot be read now, but a retry may succeed.

    """
    try:
        return image, squash(read_photograph(dataset, image), size), ""
    except InvalidPhotographError as error:
        return image, None, str(error)
