"""k-means on the directions of vectors. It initializes prototypes, segments images and classifies regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Rows that are compared at a time when distinct rows are counted.
_COUNTED = 64


@dataclass(frozen=True)
class Clusters:
    """The result of k-means: ``k`` clusters of ``m`` vectors.

    Attributes:
        labels: ``[m]`` cluster of each vector, 0 to k - 1.
        centers: ``[k, d]`` float32 mean of the unit vectors of each cluster.
        inertia: sum of the squared distances of the unit vectors to their centers. It compares seeds
            without labels.

    """

    labels: npt.NDArray[np.int64]
    centers: npt.NDArray[np.float32]
    inertia: float


def cluster_directions(vectors: npt.NDArray[np.float32], num_clusters: int, seed: int) -> Clusters:
    """Cluster vectors by their directions with k-means.

    The vectors are scaled to unit length, so that their distances depend on their cosines alone.

    Args:
        vectors: ``[m, d]``, finite. An all-zero vector stays zero. ``m = 0`` gives ``k = 0`` clusters.
        num_clusters: number of clusters ``k``. With fewer distinct directions, each direction is a cluster.
        seed: random seed of the initialization (k-means++, one run).

    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import normalize

    if not len(vectors):
        return Clusters(np.zeros(0, np.int64), np.zeros((0, vectors.shape[1]), np.float32), 0.0)
    unit = normalize(vectors)
    k = _count_distinct(unit, num_clusters)
    fitted = KMeans(k, n_init=1, random_state=seed).fit(unit)
    centers = fitted.cluster_centers_.astype(np.float32)
    return Clusters(fitted.labels_.astype(np.int64), centers, float(fitted.inertia_))


def _count_distinct(rows: npt.NDArray[np.float32], enough: int) -> int:
    """Count the distinct rows of ``[m, d]``, up to ``enough``. The first few rows mostly suffice."""
    found = rows[:0]
    for start in range(0, len(rows), _COUNTED):
        found = np.unique(np.concatenate([found, rows[start : start + _COUNTED]]), axis=0)
        if len(found) >= enough:
            return enough
    return len(found)


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
