"""Spectral clustering against scikit-learn's, and on a case that k-means cannot solve."""

import numpy as np
import pytest
from scipy.sparse import random as random_sparse
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from dcn.clusterers import KMeansClusterer, SpectralClusterer
from dcn.clusterers.spectral import graph_eigenvectors


def two_rings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions on two circles around one axis: the centers of both are the same, so k-means mixes them."""
    rng = np.random.default_rng(0)
    kind = np.arange(count) % 2
    angle = np.linspace(0, 2 * np.pi, count)
    tilt = np.where(kind, 0.5, 0.15) + rng.normal(scale=0.01, size=count)
    points = np.column_stack([np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), np.cos(tilt)])
    return normalize(points).astype(np.float32), kind


def test_rings_around_each_other_are_clusters() -> None:
    unit, kind = two_rings(240)
    spectral = SpectralClusterer(num_neighbors=8, num_eigenvectors=2)
    points = spectral.points(unit)
    assert adjusted_rand_score(kind, spectral.labels(points, 2, seed=0)) == 1
    kmeans = KMeansClusterer()
    assert adjusted_rand_score(kind, kmeans.labels(kmeans.points(unit), 2, seed=0)) < 0.1


def test_clusters_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    kind = np.repeat(np.arange(5), 40)
    unit = normalize(rng.normal(size=(5, 12))[kind] + 0.6 * rng.normal(size=(200, 12))).astype(np.float32)
    theirs = SpectralClustering(
        5, n_components=7, affinity="nearest_neighbors", n_neighbors=12, random_state=0
    ).fit_predict(unit)
    spectral = SpectralClusterer(num_neighbors=12, num_eigenvectors=7)
    assert adjusted_rand_score(theirs, spectral.labels(spectral.points(unit), 5, seed=0)) == 1


@pytest.mark.parametrize("largest_dense", [60, 59])  # all of a dense matrix, and a few of a sparse one
def test_eigenvectors_solve_the_equation_of_normalized_cuts(
    largest_dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcn.clusterers.spectral._DENSE", largest_dense)
    count = 60
    weights = random_sparse(count, count, 0.1, random_state=0)
    affinity = (weights + weights.T).toarray() + 0.01
    degrees = affinity.sum(axis=1)
    vectors = graph_eigenvectors(affinity, 4)
    assert vectors.shape == (count, 4)
    left = degrees[:, None] * vectors - affinity @ vectors  # (D - W) x
    right = degrees[:, None] * vectors  # D x
    values = (left * vectors).sum(axis=0) / (right * vectors).sum(axis=0)
    np.testing.assert_allclose(left, values * right, atol=1e-4)
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("count", [1, 2, 5, 31])
def test_fewer_regions_than_neighbors_and_eigenvectors(count: int) -> None:
    unit = normalize(np.random.default_rng(0).normal(size=(count, 8))).astype(np.float32)
    spectral = SpectralClusterer()
    labels = spectral.labels(spectral.points(unit), min(3, count), seed=0)
    assert len(labels) == count
    assert len(set(labels)) <= 3
