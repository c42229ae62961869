"""The protocols of section 4 on the regions of a data set, from their overlap with the ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.clustering import Clusters, cluster_directions
from dcn.evaluation.metrics import class_iou, match_clusters, matched_confusion, mean_iou, pixel_accuracy
from dcn.evaluation.overlap import confusion_matrix


@dataclass(frozen=True)
class Regions:
    """Every region that occurs in the evaluated photographs, in one table of ``R`` rows.

    Attributes:
        overlap: ``[R, C]`` pixels in each class (:func:`dcn.evaluation.overlap.region_overlap`).
        foreground: ``[R]`` bool.
        embedding: ``[R, d]`` of the masked crop.

    """

    overlap: npt.NDArray[np.int64]
    foreground: npt.NDArray[np.bool_]
    embedding: npt.NDArray[np.float32]


def upper_bound(regions: Regions) -> dict[str, Any]:
    """What perfect classification would reach: every region has its majority class, background among them."""
    num_classes = regions.overlap.shape[1]
    matrix = confusion_matrix(regions.overlap, regions.overlap.argmax(axis=1), num_classes)
    return _figures(matrix)


def foreground_quality(regions: Regions) -> dict[str, Any]:
    """IoU and pixel accuracy of foreground against all classes but the background."""
    two = np.stack([regions.overlap[:, 0], regions.overlap[:, 1:].sum(axis=1)], axis=1)  # [R, 2]
    matrix = confusion_matrix(two, regions.foreground.astype(np.int64), 2)
    return {"iou": _number(class_iou(matrix)[1]), "accuracy": _number(pixel_accuracy(matrix))}


def kmeans_labels(regions: Regions, num_clusters: int, seeds: int) -> list[Clusters]:
    """k-means on the embeddings of the foreground regions, once per seed."""
    embedding = regions.embedding[regions.foreground]
    return [cluster_directions(embedding, num_clusters, seed) for seed in range(seeds)]


def kmeans_predictions(regions: Regions, clusters: Clusters) -> npt.NDArray[np.int64]:
    """Cluster of every region ``[R]``: 0 is background, foreground clusters count from 1."""
    predicted = np.zeros(len(regions.foreground), dtype=np.int64)
    predicted[regions.foreground] = clusters.labels + 1
    return predicted


def kmeans_classes(regions: Regions, clusters: Clusters) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Classes of the regions by Hungarian matching, and the figures (section 4.3).

    Returns:
        ``[R]`` class of every region, and mIoU, pixel accuracy and the IoU of every class.

    """
    predicted = kmeans_predictions(regions, clusters)
    num_predicted = int(clusters.labels.max(initial=-1)) + 2
    matrix = confusion_matrix(regions.overlap, predicted, num_predicted)
    match = match_clusters(matrix)
    return np.where(match < 0, 0, match)[predicted], _figures(matched_confusion(matrix, match))


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds (of the population, as NumPy's default)."""
    return float(np.mean(values)), float(np.std(values))


def _figures(matrix: npt.NDArray[np.int64]) -> dict[str, Any]:
    return {
        "miou": _number(mean_iou(matrix)),
        "accuracy": _number(pixel_accuracy(matrix)),
        "class_iou": [_number(value) for value in class_iou(matrix)],
    }


def _number(value: float) -> float | None:
    """JSON has no NaN: a figure that is not defined is None."""
    return None if np.isnan(value) else float(value)
