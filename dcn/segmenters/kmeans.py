"""k-means on the directions of the tokens of one image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import normalize

from dcn.clustering import cluster_directions
from dcn.segmenters.assignment import assignment_of, center_scores


def kmeans_assignment(
    tokens: npt.NDArray[np.float32], num_regions: int, seed: int
) -> npt.NDArray[np.float32]:
    """Regions by k-means: the nearer a center, the better.

    Args:
        tokens: ``[n, d]``.
        num_regions: ``k``; fewer regions where there are fewer distinct directions.
        seed: of the initialization.

    Returns:
        ``[n, k]``, see :func:`dcn.segmenters.assignment.assignment_of`.

    """
    clusters = cluster_directions(tokens, num_regions, seed)
    return assignment_of(clusters.labels, center_scores(normalize(tokens), clusters.centers), num_regions)
