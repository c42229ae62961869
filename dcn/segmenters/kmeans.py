"""Per-image k-means: segments each image by k-means on the directions of its tokens."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dcn.options import RegionCount
from dcn.segmenters.assignment import assignment_of, center_scores
from dcn.segmenters.segmenter import SEED, Floats, Segmenter, Shared


class KMeansSegmenter(Segmenter):
    """k-means on the tokens of each image, with a fixed number of clusters."""

    name: Literal["kmeans"] = "kmeans"
    num_regions: RegionCount = 5

    def columns(self, num_prototypes: int) -> int:
        return self.num_regions

    def assign(self, tokens: Floats, shared: Shared, colors: Floats | None) -> Floats:
        return kmeans_assignment(tokens, self.num_regions, SEED)


def kmeans_assignment(
    tokens: npt.NDArray[np.float32], num_regions: int, seed: int
) -> npt.NDArray[np.float32]:
    """Divide the tokens of an image into regions by k-means.

    Args:
        tokens: ``[n, d]``.
        num_regions: number of regions ``k``. Tokens with fewer distinct directions give fewer regions.
        seed: random seed of the initialization.

    Returns:
        ``[n, k]``, see :func:`dcn.segmenters.assignment.assignment_of`. A nearer center has a larger score.

    """
    from sklearn.preprocessing import normalize

    from dcn.clustering import cluster_directions

    clusters = cluster_directions(tokens, num_regions, seed)
    return assignment_of(clusters.labels, center_scores(normalize(tokens), clusters.centers), num_regions)
