"""Spectral clustering of region embeddings: k-means on eigenvectors of a graph of nearest neighbors.

COMUS (Zadaianchuk et al., ICLR 2023) clusters its regions in this way, with 30 neighbors and 20 eigenvectors.
The graph joins two vectors if each is a nearest neighbor of the other, and with half the weight if only one
is. The largest eigenvectors of ``D^-1/2 W D^-1/2``, divided by the roots of the degrees, are the points of
k-means (Shi and Malik, 2000; as scikit-learn has it).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dcn.clusterers.clusterer import Clusterer, Floats, Labels
from dcn.clustering import count_distinct
from dcn.options import PositiveInt

# Up to this size all eigenvectors of the dense matrix take less than a second, and none can be missed.
_DENSE = 1024
# The points have few coordinates, so repetitions of k-means cost little; scikit-learn has as many.
_RESTARTS = 10
# Equal vectors have equal rows of eigenvectors but for rounding errors, which would be clusters of their own.
_DECIMALS = 8


class SpectralClusterer(Clusterer):
    """k-means on the eigenvectors of the graph of nearest neighbors."""

    title = "spectral clustering"
    most_vectors: ClassVar[int | None] = 16384

    name: Literal["spectral"] = "spectral"
    num_neighbors: PositiveInt = Field(30, description="Nearest neighbors of a region, itself among them.")
    num_eigenvectors: PositiveInt = Field(
        20, description="Eigenvectors of the graph, the constant one among them."
    )

    def points(self, unit: Floats) -> npt.NDArray[np.floating]:
        from sklearn.neighbors import kneighbors_graph

        neighbors = min(self.num_neighbors, len(unit))
        graph = kneighbors_graph(unit, neighbors, include_self=True)  # [m, m]
        return graph_eigenvectors((graph + graph.T) / 2, min(self.num_eigenvectors, len(unit)))

    def labels(self, points: npt.NDArray[np.floating], num_clusters: int, seed: int) -> Labels:
        from sklearn.cluster import KMeans

        k = count_distinct(points, num_clusters)
        fitted = KMeans(k, n_init=_RESTARTS, random_state=seed).fit(points)
        labels: Labels = fitted.labels_.astype(np.int64)
        return labels


def graph_eigenvectors(affinity: object, count: int) -> npt.NDArray[np.float64]:
    """Compute the smallest eigenvectors of the normalized Laplacian of a sparse graph.

    Args:
        affinity: sparse ``[m, m]``, symmetric, no row without a weight.
        count: number of eigenvectors, 1 to m.

    Returns:
        ``[m, count]`` eigenvectors of ``(D - W) x = lambda D x``, by ascending eigenvalue.

    """
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import eigsh

    weights = csr_array(affinity)
    roots = np.sqrt(weights.sum(axis=1))  # [m]
    normalized = diags_array(1 / roots) @ weights @ diags_array(1 / roots)
    if len(roots) <= max(_DENSE, count):
        _, vectors = np.linalg.eigh(normalized.toarray())
    else:  # the start is fixed, so that the result is the same every time
        _, vectors = eigsh(
            normalized, count, which="LA", v0=np.random.default_rng(0).uniform(size=len(roots))
        )
    largest = vectors[:, ::-1][:, :count]
    points: npt.NDArray[np.float64] = (largest / roots[:, None]).round(_DECIMALS)
    return points
