"""Pixels that each region shares with each class: all that the pixel metrics need of an image."""

from __future__ import annotations

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

    """
    counts = np.bincount(labels.ravel().astype(np.intp) * 256 + mask.ravel(), minlength=256 * num_regions)
    return counts.reshape(num_regions, 256)[:, :num_classes]


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
