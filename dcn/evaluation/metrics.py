"""Metrics of one confusion matrix over a whole data set. Averages per image are something else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment


def class_iou(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Intersection over union of each class.

    Args:
        matrix: ``[C, C]`` pixels of predicted (row) and true (column) class.

    Returns:
        ``[C]``; NaN for a class that does not occur in the ground truth.

    """
    hits = np.diagonal(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hits
    occurs = matrix.sum(axis=0) > 0
    iou: npt.NDArray[np.float64] = np.divide(hits, union, out=np.full(len(matrix), np.nan), where=occurs)
    return iou


def mean_iou(matrix: npt.NDArray[np.int64]) -> float:
    """Mean IoU over the classes that occur in the ground truth; NaN where none does."""
    values = class_iou(matrix)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def pixel_accuracy(matrix: npt.NDArray[np.int64]) -> float:
    """Share of labelled pixels whose class is right; NaN where no pixel is labelled."""
    total = matrix.sum()
    return float(np.diagonal(matrix).sum() / total) if total else float("nan")


def match_clusters(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Hungarian matching of clusters to classes that maximizes the sum of IoU (section 4.3).

    Args:
        matrix: ``[K, C]`` pixels of cluster (row) and true class (column), background a cluster like any.

    Returns:
        ``[K]`` class of each cluster; with more clusters than classes, -1 for those left over.

    """
    union = matrix.sum(axis=1)[:, None] + matrix.sum(axis=0)[None, :] - matrix
    iou = np.divide(matrix, union, out=np.zeros(matrix.shape), where=union > 0)
    clusters, classes = linear_sum_assignment(iou, maximize=True)
    result = np.full(len(matrix), -1, dtype=np.int64)
    result[clusters] = classes
    return result


def matched_confusion(matrix: npt.NDArray[np.int64], match: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Confusion matrix ``[C, C]`` of clusters after :func:`match_clusters`; the unmatched are background."""
    result = np.zeros((matrix.shape[1], matrix.shape[1]), dtype=np.int64)
    np.add.at(result, np.where(match < 0, 0, match), matrix)
    return result
