"""Protocols of section 4 on a table of regions: upper bound, foreground, matched clusters and k-NN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from dcn.clustering import has_direction
from dcn.evaluation.knn import RegionBank, majority_classes
from dcn.evaluation.metrics import (
    ClassificationMetrics,
    class_iou,
    classification_metrics,
    defined,
    match_clusters,
    matched_confusion,
    pixel_accuracy,
)
from dcn.evaluation.overlap import confusion_matrix
from dcn.options import Options


class ForegroundMetrics(Options):
    """Metrics of the foreground against all classes but the background; None if not defined. JSON."""

    iou: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Regions:
    """Table of every region that occurs in some photographs. It has ``R`` rows.

    Attributes:
        image: ``[R]`` row number of the photograph.
        index: ``[R]`` number of the region in its photograph, 0 to k - 1.
        overlap: ``[R, C]`` pixels in each class (:func:`dcn.evaluation.overlap.region_overlap`).
        foreground: ``[R]`` whether the region is foreground.
        embedding: ``[R, d]`` embedding, as it is classified.

    """

    image: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    overlap: npt.NDArray[np.int64]
    foreground: npt.NDArray[np.bool_]
    embedding: npt.NDArray[np.float32]

    @property
    def embedded(self) -> npt.NDArray[np.bool_]:
        """``[R]`` whether the embedding has a direction. Zero and NaN have none, and cannot be classified."""
        return has_direction(self.embedding)

    def take(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Regions:
        """Select regions by their row numbers in this table, or by a mask ``[R]``."""
        return Regions(**{field.name: getattr(self, field.name)[chosen] for field in fields(Regions)})


def join_regions(tables: Sequence[Regions]) -> Regions:
    """Concatenate tables of regions, at least one."""
    columns = (field.name for field in fields(Regions))
    return Regions(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in columns})


def upper_bound(overlap: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Compute the confusion matrix ``[C, C]`` of perfect classification: each region has its majority class.

    Args:
        overlap: ``[R, C]`` pixels of each region in each class.

    """
    return confusion_matrix(overlap, overlap.argmax(axis=1), overlap.shape[1])


def foreground_confusion(
    overlap: npt.NDArray[np.int64], foreground: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Count the pixels ``[2, 2]`` of foreground regions (row) in classes other than the background (column).

    Args:
        overlap: ``[R, C]`` pixels of each region in each class; class 0 is the background.
        foreground: ``[R]`` whether the region is foreground.

    """
    two = np.stack([overlap[:, 0], overlap[:, 1:].sum(axis=1)], axis=1)  # [R, 2]
    return confusion_matrix(two, foreground.astype(np.int64), 2)


def foreground_metrics(matrix: npt.NDArray[np.int64]) -> ForegroundMetrics:
    """Compute IoU and pixel accuracy of the foreground from a :func:`foreground_confusion`."""
    return ForegroundMetrics(iou=defined(class_iou(matrix)[1]), accuracy=defined(pixel_accuracy(matrix)))


def matched_classes(matrix: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ClassificationMetrics]:
    """Match clusters to classes and measure the classes (section 4.3).

    Args:
        matrix: ``[K, C]`` pixels of every cluster in every class. Background is a cluster too.

    Returns:
        ``[K]`` class of every cluster, where an unmatched cluster is background; and the metrics.

    """
    match = match_clusters(matrix)
    return np.where(match < 0, 0, match), classification_metrics(matched_confusion(matrix, match))


def region_bank(tables: Iterable[Regions]) -> RegionBank:
    """Build the bank of k-NN from regions that have a label and an embedding (section 4.4)."""
    usable = [table.take(table.embedded & table.overlap.any(axis=1)) for table in tables]
    embedding = np.concatenate([table.embedding for table in usable])
    classes = np.concatenate([majority_classes(table.overlap) for table in usable])
    image = np.concatenate([table.image for table in usable])
    usable.clear()  # the bank copies the embeddings; without this line memory would hold them three times
    return RegionBank(embedding, classes, image)


def knn_confusions(
    bank: RegionBank, queries: Regions, neighbors: tuple[int, ...]
) -> dict[int, npt.NDArray[np.int64]]:
    """Classify regions by weighted k-NN retrieval (section 4.4, table 2).

    Args:
        bank: labelled regions.
        queries: regions to classify. A region without embedding becomes background.
        neighbors: values of k.

    Returns:
        The confusion matrix ``[C, C]`` for each k.

    """
    asked = queries.embedded
    found = bank.classify(queries.embedding[asked], queries.image[asked], neighbors)
    result = {}
    for k, classes in found.items():
        predicted = np.zeros(len(asked), dtype=np.int64)
        predicted[asked] = classes
        result[k] = confusion_matrix(queries.overlap, predicted, queries.overlap.shape[1])
    return result


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Compute mean and standard deviation over seeds (deviation of the population, as NumPy does)."""
    return float(np.mean(values)), float(np.std(values))
