"""k-means on the directions of region embeddings (section 4.3)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from dcn.clusterers.clusterer import Clusterer, Floats, Labels
from dcn.clustering import Clusters, cluster_units


class KMeansClusterer(Clusterer):
    """k-means, the method of the paper."""

    title = "k-means"
    by_center: ClassVar[bool] = True

    name: Literal["kmeans"] = "kmeans"

    def labels(self, points: npt.NDArray[np.floating], num_clusters: int, seed: int) -> Labels:
        return cluster_units(points, num_clusters, seed).labels

    def cluster(
        self, unit: Floats, points: npt.NDArray[np.floating], num_clusters: int, seed: int
    ) -> Clusters:
        return cluster_units(unit, num_clusters, seed)
