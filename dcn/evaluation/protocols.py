"""The protocols of section 4 on the regions of a data set, from their overlap with the ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.clustering import Clusters, cluster_directions
from dcn.evaluation.knn import knn_classes, majority_classes
from dcn.evaluation.metrics import class_iou, match_clusters, matched_confusion, mean_iou, pixel_accuracy
from dcn.evaluation.overlap import confusion_matrix


@dataclass(frozen=True)
class Regions:
    """Every region that occurs in some photographs, in one table of ``R`` rows.

    Attributes:
        image: ``[R]`` number of its photograph.
        index: ``[R]`` its number in the photograph, 0 to k - 1.
        overlap: ``[R, C]`` pixels in each class (:func:`dcn.evaluation.overlap.region_overlap`).
        foreground: ``[R]`` bool.
        embedding: ``[R, d]`` of the masked crop.

    """

    image: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    overlap: npt.NDArray[np.int64]
    foreground: npt.NDArray[np.bool_]
    embedding: npt.NDArray[np.float32]

    @property
    def embedded(self) -> npt.NDArray[np.bool_]:
        """``[R]``: it has a direction. Without one (zero, NaN) a region cannot be classified."""
        length: npt.NDArray[np.float32] = np.linalg.norm(self.embedding, axis=1)
        return np.isfinite(length) & (length > 0)


def upper_bound(overlap: npt.NDArray[np.int64]) -> dict[str, Any]:
    """What perfect classification would reach: every region of ``[R, C]`` has its majority class."""
    return figures(confusion_matrix(overlap, overlap.argmax(axis=1), overlap.shape[1]))


def foreground_quality(
    overlap: npt.NDArray[np.int64], foreground: npt.NDArray[np.bool_]
) -> dict[str, float | None]:
    """IoU and pixel accuracy of foreground ``[R]`` against all classes of ``[R, C]`` but the background."""
    two = np.stack([overlap[:, 0], overlap[:, 1:].sum(axis=1)], axis=1)  # [R, 2]
    matrix = confusion_matrix(two, foreground.astype(np.int64), 2)
    return {"iou": defined(class_iou(matrix)[1]), "accuracy": defined(pixel_accuracy(matrix))}


def kmeans_labels(regions: Regions, num_clusters: int, seeds: int) -> list[Clusters]:
    """k-means on the embeddings of the foreground regions that have one, once per seed (section 4.3)."""
    embedding = regions.embedding[regions.foreground & regions.embedded]
    return [cluster_directions(embedding, num_clusters, seed) for seed in range(seeds)]


def kmeans_predictions(regions: Regions, clusters: Clusters) -> npt.NDArray[np.int64]:
    """Cluster of every region ``[R]``: 0 is background and what has no embedding, clusters count from 1."""
    predicted = np.zeros(len(regions.foreground), dtype=np.int64)
    predicted[regions.foreground & regions.embedded] = clusters.labels + 1
    return predicted


def matched_classes(
    regions: Regions, predicted: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Classes of clusters by Hungarian matching, and the figures (section 4.3).

    Args:
        regions: with ground truth.
        predicted: ``[R]`` cluster of every region, over the whole data set; background is one of them.

    Returns:
        ``[R]`` class of every region, and the :func:`figures`.

    """
    matrix = confusion_matrix(regions.overlap, predicted, int(predicted.max(initial=-1)) + 1)
    match = match_clusters(matrix)
    return np.where(match < 0, 0, match)[predicted], figures(matched_confusion(matrix, match))


def knn_figures(bank: Regions, queries: Regions, neighbors: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """Weighted k-NN retrieval (section 4.4, table 2): the figures for each k.

    A region without an embedding is in no bank, and its class is background.
    """
    usable, asked = bank.embedded, queries.embedded
    found = knn_classes(
        bank.embedding[usable],
        majority_classes(bank.overlap[usable]),
        bank.image[usable],
        queries.embedding[asked],
        queries.image[asked],
        neighbors,
    )
    result = {}
    for k, classes in found.items():
        predicted = np.zeros(len(asked), dtype=np.int64)
        predicted[asked] = classes
        result[str(k)] = figures(confusion_matrix(queries.overlap, predicted, queries.overlap.shape[1]))
    return result


def figures(matrix: npt.NDArray[np.int64]) -> dict[str, Any]:
    """mIoU, pixel accuracy, IoU of every class, and the confusion matrix ``[C, C]`` itself. JSON."""
    return {
        "miou": defined(mean_iou(matrix)),
        "accuracy": defined(pixel_accuracy(matrix)),
        "class_iou": [defined(value) for value in class_iou(matrix)],
        "confusion": matrix.tolist(),
    }


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds (of the population, as NumPy's default)."""
    return float(np.mean(values)), float(np.std(values))


def defined(value: float) -> float | None:
    """JSON has no NaN: a figure that is not defined is None."""
    return None if np.isnan(value) else float(value)
