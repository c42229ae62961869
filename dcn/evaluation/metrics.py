"""Metrics of one confusion matrix over a whole data set: mean IoU, pixel accuracy, Hungarian matching.

The mean of a metric over single images is another number; the paper and PASCAL VOC use one matrix.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcn.options import Options


class ClassificationMetrics(Options):
    """Metrics of predicted classes against the ground truth. JSON.

    Attributes:
        miou: mean IoU over the classes that occur in the ground truth; None if no pixel is labelled.
        accuracy: share of the labelled pixels whose class is right; None if no pixel is labelled.
        class_iou: ``[C]`` IoU of each class; None for a class that does not occur in the ground truth.
        confusion: ``[C, C]`` pixels of predicted class (row) and true class (column).

    """

    miou: float | None
    accuracy: float | None
    class_iou: list[float | None]
    confusion: list[list[int]]


def classification_metrics(matrix: npt.NDArray[np.int64]) -> ClassificationMetrics:
    """Compute mean IoU, pixel accuracy and the IoU of every class of a confusion matrix.

    Args:
        matrix: ``[C, C]`` pixels of predicted class (row) and true class (column).

    """
    return ClassificationMetrics(
        miou=defined(mean_iou(matrix)),
        accuracy=defined(pixel_accuracy(matrix)),
        class_iou=[defined(value) for value in class_iou(matrix)],
        confusion=matrix.tolist(),
    )


def defined(value: float) -> float | None:
    """Replace NaN by None, because JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def class_iou(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the intersection over union of each class.

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
    """Average the IoU over the classes that occur in the ground truth; NaN if none occurs."""
    values = class_iou(matrix)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def pixel_accuracy(matrix: npt.NDArray[np.int64]) -> float:
    """Compute the share of labelled pixels whose class is right; NaN if no pixel is labelled."""
    total = matrix.sum()
    return float(np.diagonal(matrix).sum() / total) if total else float("nan")


def match_clusters(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Match clusters to classes by the Hungarian algorithm, which maximizes the sum of IoU (section 4.3).

    Args:
        matrix: ``[K, C]`` pixels of cluster (row) and true class (column). Background is a cluster too.

    Returns:
        ``[K]`` class of each cluster. If there are more clusters than classes, the remaining ones have -1.

    """
    from scipy.optimize import linear_sum_assignment

    union = matrix.sum(axis=1)[:, None] + matrix.sum(axis=0)[None, :] - matrix
    iou = np.divide(matrix, union, out=np.zeros(matrix.shape), where=union > 0)
    clusters, classes = linear_sum_assignment(iou, maximize=True)
    result = np.full(len(matrix), -1, dtype=np.int64)
    result[clusters] = classes
    return result


def matched_confusion(matrix: npt.NDArray[np.int64], match: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Apply a matching of clusters: the confusion matrix ``[C, C]``, with unmatched clusters as background.

    Args:
        matrix: ``[K, C]`` pixels of cluster (row) and true class (column).
        match: ``[K]`` result of :func:`match_clusters`.

    """
    result = np.zeros((matrix.shape[1], matrix.shape[1]), dtype=np.int64)
    np.add.at(result, np.where(match < 0, 0, match), matrix)
    return result
