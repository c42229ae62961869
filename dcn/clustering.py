"""Clusters of vectors by their directions, with centers for new vectors; and k-means, which makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Rows that are compared at a time when distinct rows are counted.
_COUNTED = 64


@dataclass(frozen=True)
class Clusters:
    """``k`` clusters of ``m`` vectors. Each has a center, or several if it was merged of smaller clusters.

    Attributes:
        labels: ``[m]`` cluster of each vector, 0 to k - 1.
        centers: ``[c, d]`` float32 means of unit vectors. A new vector belongs to the cluster of the nearest.
        cluster_of_center: ``[c]`` cluster of each center, 0 to k - 1.
        inertia: sum of the squared distances of the unit vectors to the means of their clusters. It compares
            seeds without labels.

    """

    labels: npt.NDArray[np.int64]
    centers: npt.NDArray[np.float32]
    cluster_of_center: npt.NDArray[np.int64]
    inertia: float

    @property
    def count(self) -> int:
        """Number of clusters ``k``."""
        return int(self.cluster_of_center.max(initial=-1)) + 1

    def nearest(self, unit: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Find the cluster with the nearest center for unit vectors ``[n, d]``. There must be a center."""
        # The part of the squared distance that differs between the centers.
        distance = (self.centers**2).sum(axis=1) - 2 * unit @ self.centers.T  # [n, c]
        found: npt.NDArray[np.int64] = self.cluster_of_center[distance.argmin(axis=1)]
        return found


def cluster_directions(vectors: npt.NDArray[np.float32], num_clusters: int, seed: int) -> Clusters:
    """Cluster vectors by their directions with k-means.

    The vectors are scaled to unit length, so that their distances depend on their cosines alone.

    Args:
        vectors: ``[m, d]``, finite. An all-zero vector stays zero. ``m = 0`` gives ``k = 0`` clusters.
        num_clusters: number of clusters ``k``. With fewer distinct directions, each direction is a cluster.
        seed: random seed of the initialization (k-means++, one run).

    """
    from sklearn.preprocessing import normalize

    from dcn.kernels.cpu_threads import compute_alone

    if not len(vectors):
        return no_clusters(vectors.shape[1])
    with compute_alone():
        return cluster_units(normalize(vectors), num_clusters, seed)


def cluster_units(unit: npt.NDArray[np.float32], num_clusters: int, seed: int) -> Clusters:
    """Cluster unit vectors, at least one; see :func:`cluster_directions`."""
    from sklearn.cluster import KMeans

    k = count_distinct(unit, num_clusters)
    fitted = KMeans(k, n_init=1, random_state=seed).fit(unit)
    centers = fitted.cluster_centers_.astype(np.float32)
    return Clusters(fitted.labels_.astype(np.int64), centers, np.arange(k), float(fitted.inertia_))


def no_clusters(width: int) -> Clusters:
    """Make the clusters of no vector, whose centers would have this width."""
    nothing = np.zeros(0, np.int64)
    return Clusters(nothing, np.zeros((0, width), np.float32), nothing, 0.0)


def clusters_of_labels(unit: npt.NDArray[np.float32], labels: npt.NDArray[np.integer]) -> Clusters:
    """Describe a division of unit vectors by the mean of each cluster.

    Args:
        unit: ``[m, d]``.
        labels: ``[m]`` label of each vector. The clusters are numbered in the order of the labels that occur.

    """
    present, numbers = np.unique(labels, return_inverse=True)
    centers = np.stack([unit[numbers == k].mean(axis=0) for k in range(len(present))])  # [k, d]
    inertia = float(((unit - centers[numbers]) ** 2).sum())
    return Clusters(numbers.astype(np.int64), centers, np.arange(len(present)), inertia)


def count_distinct(rows: npt.NDArray[np.floating], enough: int) -> int:
    """Count the distinct rows of ``[m, d]``, up to ``enough``. The first few rows mostly suffice."""
    found = rows[:0]
    for start in range(0, len(rows), _COUNTED):
        found = np.unique(np.concatenate([found, rows[start : start + _COUNTED]]), axis=0)
        if len(found) >= enough:
            return enough
    return len(found)


def has_direction(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Say which vectors of ``[..., d]`` have a direction, ``[...]``: they are finite, and not zero."""
    squared = np.einsum("...d,...d->...", vectors, vectors)
    found: npt.NDArray[np.bool_] = np.isfinite(squared) & (squared > 0)
    return found


def center_distances(
    vectors: npt.NDArray[np.float32], centers: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Compute the distances of the directions of vectors to cluster centers.

    Args:
        vectors: ``[m, d]``, none of them zero.
        centers: ``[k, d]``, see :class:`Clusters`.

    Returns:
        ``[m, k]`` Euclidean distances in [0, 2].

    """
    from sklearn.preprocessing import normalize

    unit = normalize(vectors.astype(np.float64))  # of two equal float32 numbers the difference may be 5e-4
    squared = 1 + (centers.astype(np.float64) ** 2).sum(axis=1) - 2 * unit @ centers.T
    distances: npt.NDArray[np.float64] = np.sqrt(np.maximum(squared, 0))
    return distances
