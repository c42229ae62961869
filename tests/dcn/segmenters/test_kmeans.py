"""k-means per photograph, compared with scikit-learn."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from dcn.segmenters.assignment import center_scores
from dcn.segmenters.kmeans import kmeans_assignment
from tests.dcn.segmenters.synthetic_tokens import random_tokens


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=30)
def test_kmeans_has_the_labels_of_scikit_learn(seed: int, k: int) -> None:
    tokens = random_tokens(64, 5, seed)
    unit = normalize(tokens)
    expected = KMeans(k, n_init=1, random_state=seed).fit(unit)
    np.testing.assert_array_equal(kmeans_assignment(tokens, k, seed).argmax(axis=1), expected.labels_)
    np.testing.assert_array_equal(
        center_scores(unit, expected.cluster_centers_).argmax(axis=1), expected.labels_
    )
