"""k-means with clusters of bounded sizes, so that no class swallows the data set and none is a rarity.

k-means alternates between the nearest centers and the means. Here the first of the two steps finds, among all
assignments that keep the bounds, the one with the smallest sum of squared distances: a transport problem
(Bradley, Bennett and Demiriz, 2000), which SciPy's HiGHS solves exactly.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dcn.clusterers.clusterer import Clusterer, Labels

# k-means with bounds ends after a few rounds, because it starts where k-means ends.
_MOST_ROUNDS = 20


class BalancedClusterer(Clusterer):
    """k-means in which every cluster has a smallest and a largest number of regions."""

    title = "balanced k-means"
    most_vectors: ClassVar[int | None] = 4096

    name: Literal["balanced"] = "balanced"
    smallest: float = Field(
        0.5, ge=0, le=1, description="Smallest size of a cluster, relative to the mean size."
    )
    largest: float = Field(1.5, ge=1, description="Largest size of a cluster, relative to the mean size.")

    def labels(self, points: npt.NDArray[np.floating], num_clusters: int, seed: int) -> Labels:
        from sklearn.cluster import KMeans
        from sklearn.metrics.pairwise import euclidean_distances

        mean = len(points) / num_clusters
        bounds = math.floor(self.smallest * mean), math.ceil(self.largest * mean)
        start = KMeans(num_clusters, n_init=1, random_state=seed).fit(points)
        centers, labels = start.cluster_centers_, start.labels_.astype(np.int64)
        for _ in range(_MOST_ROUNDS):
            squared = euclidean_distances(points, centers, squared=True)  # [m, K]
            before, labels = labels, bounded_assignment(squared, *bounds)
            if np.array_equal(before, labels):
                break
            for cluster in np.unique(labels):
                centers[cluster] = points[labels == cluster].mean(axis=0)
        found: Labels = labels
        return found


def bounded_assignment(costs: npt.NDArray[np.floating], smallest: int, largest: int) -> Labels:
    """Assign every vector to a cluster at the least total cost, with bounds for the sizes of the clusters.

    Args:
        costs: ``[m, K]`` cost of each vector in each cluster.
        smallest: least number of vectors in a cluster, at most ``m / K``.
        largest: largest number of vectors in a cluster, at least ``m / K``.

    Returns:
        ``[m]`` cluster of each vector.

    """
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    m, k = costs.shape
    each_once = kron(eye_array(m), np.ones((1, k)), format="csr")  # [m, m K]
    sizes = kron(np.ones((1, m)), eye_array(k), format="csr")  # [K, m K]
    # The vertices of this polytope are integral, and the simplex method ends at a vertex.
    solved = linprog(
        costs.astype(np.float64).ravel(),
        A_eq=each_once,
        b_eq=np.ones(m),
        A_ub=vstack([sizes, -sizes]),
        b_ub=np.concatenate([np.full(k, largest), np.full(k, -smallest)]),
        method="highs-ds",
    )
    assert solved.x is not None, solved.message
    labels: Labels = solved.x.reshape(m, k).argmax(axis=1)
    return labels
