"""Merging of clusters against SciPy's agglomerative clustering of single vectors."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from dcn.clusterers.merging import merge_clusters


@given(st.integers(0, 2**31), st.integers(2, 25), st.integers(1, 6))
@settings(max_examples=30)
def test_clusters_of_one_vector_are_merged_as_scipy_merges_vectors(
    seed: int, count: int, wanted: int
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, 4))
    merged = merge_clusters(vectors, np.ones(count, dtype=int), wanted)
    assert set(merged) == set(range(min(wanted, count)))
    theirs = fcluster(linkage(vectors, "ward"), wanted, "maxclust")
    assert adjusted_rand_score(theirs, merged) == 1


def test_sizes_count() -> None:
    """1 and 2 are nearer to each other than 0 and 1, but the union of two large clusters costs more."""
    centers = np.array([[0.0], [10.0], [19.0]])
    assert merge_clusters(centers, np.array([1, 1, 1]), 2).tolist() == [0, 1, 1]
    assert merge_clusters(centers, np.array([1, 50, 50]), 2).tolist() == [0, 0, 1]
