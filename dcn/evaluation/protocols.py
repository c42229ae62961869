"""The protocols of section 4 on the regions of a data set, from their overlap with the ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import normalize

from dcn.clustering import Clusters, cluster_directions
from dcn.evaluation.knn import RegionBank, majority_classes
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
        squared: npt.NDArray[np.float32] = np.einsum("rd,rd->r", self.embedding, self.embedding)
        return np.isfinite(squared) & (squared > 0)

    def take(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Regions:
        """Some of them: rows of the table, or a mask ``[R]``."""
        return Regions(**{field.name: getattr(self, field.name)[chosen] for field in fields(Regions)})


def join_regions(tables: Sequence[Regions]) -> Regions:
    """One table of at least one."""
    columns = (field.name for field in fields(Regions))
    return Regions(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in columns})


def upper_bound(overlap: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Confusion ``[C, C]`` of perfect classification: every region of ``[R, C]`` has its majority class."""
    return confusion_matrix(overlap, overlap.argmax(axis=1), overlap.shape[1])


def foreground_confusion(
    overlap: npt.NDArray[np.int64], foreground: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Pixels ``[2, 2]`` of foreground ``[R]`` (row) in classes of ``[R, C]`` but the background (column)."""
    two = np.stack([overlap[:, 0], overlap[:, 1:].sum(axis=1)], axis=1)  # [R, 2]
    return confusion_matrix(two, foreground.astype(np.int64), 2)


def foreground_quality(matrix: npt.NDArray[np.int64]) -> dict[str, float | None]:
    """IoU and pixel accuracy of the foreground, of a :func:`foreground_confusion`."""
    return {"iou": defined(class_iou(matrix)[1]), "accuracy": defined(pixel_accuracy(matrix))}


def kmeans_labels(regions: Regions, num_clusters: int, seeds: int) -> list[Clusters]:
    """k-means on the embeddings of the foreground regions that have one, once per seed (section 4.3)."""
    embedding = regions.embedding[regions.foreground & regions.embedded]
    return [cluster_directions(embedding, num_clusters, seed) for seed in range(seeds)]


def kmeans_predictions(regions: Regions, clusters: Clusters) -> npt.NDArray[np.int64]:
    """Cluster of every region ``[R]``: that whose center is nearest, counted from 1.

    0 is background, and what has no embedding. The regions need not be those that were clustered.
    """
    predicted = np.zeros(len(regions.foreground), dtype=np.int64)
    known = np.flatnonzero(regions.foreground & regions.embedded)
    if len(known) and len(clusters.centers):
        centers = clusters.centers
        # Of the squared distance, what differs between the centers.
        distance = (centers**2).sum(axis=1) - 2 * normalize(regions.embedding[known]) @ centers.T  # [m, K]
        predicted[known] = distance.argmin(axis=1) + 1
    return predicted


def matched_classes(matrix: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Classes of clusters by Hungarian matching, and the figures (section 4.3).

    Args:
        matrix: ``[K, C]`` pixels of every cluster, background among them, in every class.

    Returns:
        ``[K]`` class of every cluster, and the :func:`figures`.

    """
    match = match_clusters(matrix)
    return np.where(match < 0, 0, match), figures(matched_confusion(matrix, match))


def region_bank(tables: Iterable[Regions]) -> RegionBank:
    """The labelled ones of some regions; what has no embedding is in no bank."""
    usable = [table.take(table.embedded & table.overlap.any(axis=1)) for table in tables]
    embedding = np.concatenate([table.embedding for table in usable])
    classes = np.concatenate([majority_classes(table.overlap) for table in usable])
    image = np.concatenate([table.image for table in usable])
    usable.clear()  # the bank makes a copy of its own, and a third would be one too many
    return RegionBank(embedding, classes, image)


def knn_confusions(
    bank: RegionBank, queries: Regions, neighbors: tuple[int, ...]
) -> dict[int, npt.NDArray[np.int64]]:
    """Weighted k-NN retrieval (section 4.4, table 2): the confusion matrix ``[C, C]`` for each k.

    The class of a region without an embedding is background.
    """
    asked = queries.embedded
    found = bank.classify(queries.embedding[asked], queries.image[asked], neighbors)
    result = {}
    for k, classes in found.items():
        predicted = np.zeros(len(asked), dtype=np.int64)
        predicted[asked] = classes
        result[k] = confusion_matrix(queries.overlap, predicted, queries.overlap.shape[1])
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
