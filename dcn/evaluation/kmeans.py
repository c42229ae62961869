"""Region classification by k-means on the embeddings of foreground regions (sections 4.1.1 and 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize


@dataclass(frozen=True)
class RegionClusters:
    """Result of one seed.

    Attributes:
        labels: ``[R]`` cluster of each region, 0 to ``num_clusters`` - 1.
        inertia: sum of squared distances; compares seeds without labels.

    """

    labels: npt.NDArray[np.int64]
    inertia: float


def cluster_regions(embeddings: npt.NDArray[np.float32], num_clusters: int, seed: int) -> RegionClusters:
    """k-means on unit embeddings.

    Args:
        embeddings: ``[R, d]`` of foreground regions.
        num_clusters: with fewer distinct regions than this, each distinct one is a cluster.
        seed: of the initialization.

    """
    unit = normalize(embeddings)
    k = min(num_clusters, len(np.unique(unit, axis=0)))
    fitted = KMeans(k, n_init=1, random_state=seed).fit(unit)
    return RegionClusters(fitted.labels_.astype(np.int64), float(fitted.inertia_))
