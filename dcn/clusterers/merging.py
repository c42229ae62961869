"""Merging of too many clusters into the wanted number, by their similarity alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def merge_clusters(
    centers: npt.NDArray[np.floating], sizes: npt.NDArray[np.integer], num_clusters: int
) -> npt.NDArray[np.int64]:
    """Merge the two most similar clusters again and again, until ``num_clusters`` are left.

    Two clusters are similar if their union is compact: the sum of squared distances to the centers grows
    least (Ward, 1963). This is agglomerative clustering that starts at clusters instead of single vectors.

    Args:
        centers: ``[F, d]`` mean of each cluster.
        sizes: ``[F]`` number of vectors in each cluster, none of them 0.
        num_clusters: number of clusters that are left, at least 1.

    Returns:
        ``[F]`` number of the merged cluster of each cluster, in the order of their first clusters.

    Example:
        >>> merge_clusters(np.array([[0.0], [9.0], [1.0]]), np.array([1, 1, 1]), 2)
        array([0, 1, 0])

    """
    from sklearn.metrics.pairwise import euclidean_distances

    means, weights = centers.astype(np.float64), sizes.astype(np.float64)
    merged = np.arange(len(means))
    for _ in range(len(means) - num_clusters):
        squared = euclidean_distances(means, squared=True)  # [F, F]
        growth = squared * (weights[:, None] * weights) / (weights[:, None] + weights)
        growth[np.tril_indices(len(means))] = np.inf
        kept, gone = np.unravel_index(growth.argmin(), growth.shape)
        both = weights[kept] + weights[gone]
        means[kept] = (weights[kept] * means[kept] + weights[gone] * means[gone]) / both
        weights[kept] = both
        means, weights = np.delete(means, gone, axis=0), np.delete(weights, gone)
        merged[merged == gone] = kept
        merged[merged > gone] -= 1
    return merged
