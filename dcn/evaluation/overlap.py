"""Count the pixels that each region shares with each class; every pixel metric follows from this table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def region_overlap(
    labels: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], num_regions: int, num_classes: int
) -> npt.NDArray[np.int64]:
    """Count the pixels of each region in each class.

    A prediction gives one class to all pixels of a region, so the confusion matrix of any prediction is a sum
    of rows of this table. One pass over the photographs therefore serves all protocols and all seeds.

    Args:
        labels: ``[H, W]`` label map of the regions, 0 to ``num_regions`` - 1.
        mask: ``[H, W]`` ground truth. A label of ``num_classes`` or more (the ignore label) counts nowhere.
        num_regions: ``k``.
        num_classes: ``C``.

    Returns:
        ``[num_regions, num_classes]``.

    Raises:
        ValueError: a label is no region, or the sizes differ.

    """
    from dcn.evaluation.pair_counts import count_pairs

    if labels.shape != mask.shape:
        raise ValueError(f"labels are {labels.shape}, the mask is {mask.shape}; give both the same size")
    if labels.max(initial=0) >= num_regions:
        raise ValueError(f"label {labels.max()} is too large for {num_regions} regions; labels count from 0")
    counts = np.zeros((num_regions, 256), np.int64)
    count_pairs(labels.ravel(), mask.ravel(), counts)
    return counts[:, :num_classes]


def confusion_matrix(
    overlap: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], num_predicted: int
) -> npt.NDArray[np.int64]:
    """Sum the overlaps of regions by their predicted label.

    Args:
        overlap: ``[R, C]``, one row for each region, from :func:`region_overlap`.
        predicted: ``[R]`` label of each region, 0 to ``num_predicted`` - 1.
        num_predicted: number of labels, ``P``.

    Returns:
        ``[P, C]`` pixels of predicted label (row) and true class (column).

    """
    matrix = np.zeros((num_predicted, overlap.shape[1]), dtype=np.int64)
    np.add.at(matrix, predicted, overlap)
    return matrix
