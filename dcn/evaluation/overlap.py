"""Pixels that each region shares with each class: all that the pixel metrics need of an image."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt


def region_overlap(
    labels: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], num_regions: int, num_classes: int
) -> npt.NDArray[np.int64]:
    """Pixels of each region in each class.

    As a prediction gives one class to all pixels of a region, the confusion matrix of any prediction is a
    sum of rows of this table: the photographs are gone through once for all protocols and seeds.

    Args:
        labels: ``[H, W]`` regions.
        mask: ``[H, W]`` ground truth; labels that are no class (the ignore label) count nowhere.

    Returns:
        ``[num_regions, num_classes]``.

    Raises:
        ValueError: a label is no region, or the sizes differ.

    """
    if labels.shape != mask.shape:
        raise ValueError(f"regions {labels.shape} of a mask {mask.shape}")
    if labels.max(initial=0) >= num_regions:
        raise ValueError(f"label {labels.max()} is none of {num_regions} regions")
    counts = np.zeros((num_regions, 256), np.int64)
    _count(labels.ravel(), mask.ravel(), counts)
    return counts[:, :num_classes]


@numba.njit(nogil=True)
def _count(labels: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]) -> None:
    """Count the pairs of ``[P]`` labels. ``numpy.bincount`` wants them as one array of wide integers."""
    for pixel in range(len(labels)):
        counts[labels[pixel], mask[pixel]] += 1


def confusion_matrix(
    overlap: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], num_predicted: int
) -> npt.NDArray[np.int64]:
    """Sum of region overlaps by predicted label.

    Args:
        overlap: ``[R, C]``, a row per region.
        predicted: ``[R]`` in 0 to ``num_predicted`` - 1.

    Returns:
        ``[num_predicted, C]``: pixels of predicted label (row) and true class (column).

    """
    matrix = np.zeros((num_predicted, overlap.shape[1]), dtype=np.int64)
    np.add.at(matrix, predicted, overlap)
    return matrix
