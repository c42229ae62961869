"""The number of clusters by their stability: a good number comes out again on other regions.

The regions are divided into two halves, and each half is clustered alone. The clusters of one half also
divide the other half, by the nearest centers. If both divisions of this half agree, the clusters are in the
data, and not in the choice of the regions (Lange et al., Stability-based validation of clustering solutions,
2004). The agreement is the adjusted Rand index, which is 0 on average for random divisions, whatever their
number of clusters.
"""

from __future__ import annotations

import numpy as np

from dcn.clusterers.clusterer import Clusterer, Floats
from dcn.clustering import count_distinct

# More vectors cost time, and the halves of this many already show what is stable.
_MOST_VECTORS = 2048
_SPLITS = 4
_LARGEST = 255
# Each number of clusters is at least this much larger than the one before: 9, 10, 12, 14, 16, 18, 20, 23, ...
_STEP = 1.15
# With fewer vectors in a cluster of a half, on average, its center is an accident.
_LEAST_SIZE = 5


def stable_number(clusterer: Clusterer, unit: Floats) -> int:
    """Find the number of clusters that is most stable. Of equally stable ones it is the largest.

    Args:
        clusterer: makes the clusters.
        unit: ``[m, d]`` unit vectors, at least one.

    Returns:
        A number from 2 to 255; 1 if the vectors are too few or all equal.

    """
    scores = cluster_stability(clusterer, unit)
    best = max(scores.values(), default=0.0)
    return max((k for k, score in scores.items() if score == best), default=1)


def cluster_stability(clusterer: Clusterer, unit: Floats) -> dict[int, float]:
    """Measure the stability of each number of clusters.

    Args:
        clusterer: makes the clusters.
        unit: ``[m, d]`` unit vectors. Of more than 2,048, this many are taken at random, with a fixed seed.

    Returns:
        Mean adjusted Rand index for each number that is tried: 2, 3, 4, ... in growing steps, while the
        clusters of a half have 5 vectors on average. Empty for fewer than 20 vectors, or if all are equal.

    """
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    scores: dict[int, list[float]] = {}
    for _ in range(_SPLITS):
        drawn = unit[rng.permutation(len(unit))[:_MOST_VECTORS]]
        one, other = drawn[::2], drawn[1::2]
        distinct = min(count_distinct(half, _LARGEST) for half in (one, other))
        numbers = _numbers(min(distinct, len(other) // _LEAST_SIZE))
        if not numbers:
            return {}
        points_of_one, points_of_other = clusterer.points(one), clusterer.points(other)
        for k in numbers:
            of_one = clusterer.cluster(one, points_of_one, k, seed=0)
            of_other = clusterer.cluster(other, points_of_other, k, seed=0)
            if min(of_one.count, of_other.count) < k:  # the method cannot make as many
                break
            scores.setdefault(k, []).append(adjusted_rand_score(of_one.nearest(other), of_other.labels))
            scores[k].append(adjusted_rand_score(of_other.nearest(one), of_one.labels))
    return {k: float(np.mean(found)) for k, found in scores.items()}


def _numbers(largest: int) -> list[int]:
    numbers, following = [], 2
    while following <= largest:
        numbers.append(following)
        following = max(following + 1, round(following * _STEP))
    return numbers
