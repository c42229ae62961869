"""k-means on the directions of vectors: what starts prototypes, segments images and classifies regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

# Rows that are looked at together for whether they differ.
_COUNTED = 64


@dataclass(frozen=True)
class Clusters:
    """``k`` clusters of ``m`` vectors.

    Attributes:
        labels: ``[m]`` cluster of each vector, 0 to k - 1.
        centers: ``[k, d]`` float32 mean of the unit vectors of each cluster.
        inertia: sum of squared distances to the centers; compares seeds without labels.

    """

    labels: npt.NDArray[np.int64]
    centers: npt.NDArray[np.float32]
    inertia: float


def cluster_directions(vectors: npt.NDArray[np.float32], num_clusters: int, seed: int) -> Clusters:
    """k-means on unit vectors: their distances are a matter of their cosines alone.

    Args:
        vectors: ``[m, d]``, finite; an all-zero one stays zero. None at all are no clusters.
        num_clusters: with fewer distinct directions than this, each distinct one is a cluster.
        seed: of the initialization (k-means++, once).

    """
    if not len(vectors):
        return Clusters(np.zeros(0, np.int64), np.zeros((0, vectors.shape[1]), np.float32), 0.0)
    unit = normalize(vectors)
    k = _count_distinct(unit, num_clusters)
    fitted = KMeans(k, n_init=1, random_state=seed).fit(unit)
    centers = fitted.cluster_centers_.astype(np.float32)
    return Clusters(fitted.labels_.astype(np.int64), centers, float(fitted.inertia_))


def _count_distinct(rows: npt.NDArray[np.float32], enough: int) -> int:
    """Distinct rows of ``[m, d]``, counted up to ``enough``: mostly the first few show as many."""
    found = rows[:0]
    for start in range(0, len(rows), _COUNTED):
        found = np.unique(np.concatenate([found, rows[start : start + _COUNTED]]), axis=0)
        if len(found) >= enough:
            return enough
    return len(found)
