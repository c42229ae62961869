"""k-means with bounded sizes: the assignment against all possible ones, and the bounds on any data."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import normalize

from dcn.clusterers import BalancedClusterer
from dcn.clusterers.balanced import bounded_assignment


@given(st.integers(0, 2**31), st.integers(2, 3), st.integers(4, 7))
@settings(max_examples=20)
def test_no_other_assignment_within_the_bounds_costs_less(seed: int, k: int, m: int) -> None:
    costs = np.random.default_rng(seed).uniform(size=(m, k))
    smallest, largest = m // k - 1, math.ceil(m / k) + 1
    labels = bounded_assignment(costs, smallest, largest)
    allowed = [
        sum(costs[row, cluster] for row, cluster in enumerate(one))
        for one in itertools.product(range(k), repeat=m)
        if all(smallest <= one.count(cluster) <= largest for cluster in range(k))
    ]
    assert all(smallest <= (labels == cluster).sum() <= largest for cluster in range(k))
    assert costs[np.arange(m), labels].sum() == pytest.approx(min(allowed))


def test_a_crowd_is_divided_and_a_rarity_is_filled_up() -> None:
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], [90, 8, 2])
    unit = normalize(np.eye(3)[kind] + 0.1 * rng.normal(size=(100, 3))).astype(np.float32)
    sizes = np.bincount(BalancedClusterer(smallest=0.6, largest=1.2).labels(unit, 3, seed=0))
    assert sorted(sizes)[0] >= 20
    assert sorted(sizes)[-1] <= 40


def test_loose_bounds_are_plain_kmeans() -> None:
    from sklearn.cluster import KMeans

    unit = normalize(np.random.default_rng(0).normal(size=(60, 6))).astype(np.float32)
    labels = BalancedClusterer(smallest=0, largest=100).labels(unit, 4, seed=3)
    np.testing.assert_array_equal(labels, KMeans(4, n_init=1, random_state=3).fit(unit).labels_)


def test_as_many_clusters_as_regions() -> None:
    assert sorted(BalancedClusterer().labels(np.eye(5, dtype=np.float32), 5, seed=0)) == [0, 1, 2, 3, 4]
