"""Agglomerative clustering: joins the two most similar clusters until the wanted number is left."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dcn.clusterers.clusterer import Clusterer, Labels


class AgglomerativeClusterer(Clusterer):
    """Hierarchical clustering from the bottom up. It draws no random numbers."""

    title = "agglomerative clustering"
    seeded: ClassVar[bool] = False
    most_vectors: ClassVar[int | None] = 8192  # all distances are in memory: 0.3 GB

    name: Literal["agglomerative"] = "agglomerative"
    linkage: Literal["ward", "average", "complete"] = Field(
        "ward",
        description="Distance of two clusters: by the growth of the squared distances to the centers "
        "(``ward``), or the ``average`` or the largest (``complete``) distance of their regions.",
    )

    def labels(self, points: npt.NDArray[np.floating], num_clusters: int, seed: int) -> Labels:
        from sklearn.cluster import AgglomerativeClustering

        if len(points) == 1:  # scikit-learn wants two
            return np.zeros(1, dtype=np.int64)
        fitted = AgglomerativeClustering(num_clusters, linkage=self.linkage).fit(points)
        labels: Labels = fitted.labels_.astype(np.int64)
        return labels
