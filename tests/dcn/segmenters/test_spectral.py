"""Spectral clustering and its color term, compared with scikit-learn and plain loops."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score

from dcn.errors import InvalidOptionError
from dcn.segmenters.spectral import border_background, color_affinity, spectral_assignment
from tests.dcn.segmenters.synthetic_tokens import cosine_affinity, planted, random_tokens


@pytest.mark.parametrize("seed", range(5))
def test_spectral_equals_scikit_learn(seed: int) -> None:
    tokens, _ = planted(4, 10, seed, noise=0.15)
    affinity = cosine_affinity(tokens).clip(min=0)
    expected = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(affinity)
    labels = spectral_assignment(tokens, 4, seed).argmax(axis=1)
    assert adjusted_rand_score(expected, labels) == 1


@pytest.mark.parametrize("k", [2, 3, 5])
def test_spectral_is_kmeans_on_the_eigenvectors_after_the_first(k: int) -> None:
    tokens = random_tokens(49, 4, seed=k) + 0.5
    affinity = cosine_affinity(tokens).clip(min=0)
    degrees = np.diag(affinity.sum(axis=1))
    points = eigh(degrees - affinity, degrees)[1][:, 1:k]
    expected = KMeans(k, n_init=100, random_state=0).fit(points)
    labels = spectral_assignment(tokens, k, seed=0).argmax(axis=1)
    spread = sum(((points[labels == c] - points[labels == c].mean(axis=0)) ** 2).sum() for c in range(k))
    assert spread == pytest.approx(expected.inertia_, rel=0.05)


def test_color_affinity_counts_nearest_neighbors() -> None:
    rng = np.random.default_rng(0)
    colors = rng.random((36, 3)).astype(np.float32)
    expected = np.zeros((36, 36))
    for neighbors, weight in ((20, 2.0), (10, 0.1)):
        features = [
            np.array([*colors[i], weight * (i % 6) / 5, weight * (i // 6) / 5], dtype=np.float64)
            for i in range(36)
        ]
        for i in range(36):
            distances = [np.linalg.norm(features[i] - other) for other in features]
            for j in np.argsort(distances)[:neighbors]:
                expected[i, j] += 1
                expected[j, i] += 1
    np.testing.assert_array_equal(color_affinity(colors), expected)


def test_colors_divide_equal_tokens() -> None:
    tokens = np.ones((100, 3), dtype=np.float32)
    colors = np.zeros((100, 3), dtype=np.float32)
    colors[40:] = 1
    labels = spectral_assignment(tokens, 2, seed=0, colors=colors, color_weight=10.0).argmax(axis=1)
    assert adjusted_rand_score(colors[:, 0], labels) == 1
    assert not spectral_assignment(tokens, 2, seed=0, colors=colors).argmax(axis=1).any()
    with pytest.raises(InvalidOptionError, match="colors"):
        spectral_assignment(tokens, 2, seed=0, color_weight=10.0)


def test_background_is_the_label_with_most_of_the_border() -> None:
    labels = np.full((6, 6), 2)
    labels[:, 1:5] = 0  # the largest, and four of six pixels of the top and the bottom
    labels[0, 1] = labels[-1, 1] = 1
    assert border_background(labels) == 2
    assert border_background(labels.T) == 2
    assert border_background(np.array([[1, 0], [0, 1]])) == 0
