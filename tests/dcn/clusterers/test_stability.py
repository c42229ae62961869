"""The number of clusters: found where it is known, and defined where there is nothing to find."""

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from dcn.clusterers import AgglomerativeClusterer, Clusterer, KMeansClusterer, SpectralClusterer
from dcn.clusterers.stability import cluster_stability, stable_number


@pytest.mark.parametrize(
    ("clusterer", "number"),
    [
        (KMeansClusterer(), 3),
        (KMeansClusterer(), 6),
        (AgglomerativeClusterer(), 6),
        (SpectralClusterer(num_neighbors=5, num_eigenvectors=6), 6),
    ],
    ids=lambda one: str(getattr(one, "name", one)),
)
def test_the_number_of_separate_groups_is_found(clusterer: Clusterer, number: int) -> None:
    rng = np.random.default_rng(number)
    groups = np.eye(8)[np.arange(120) % number]
    unit = normalize(groups + 0.08 * rng.normal(size=(120, 8))).astype(np.float32)
    assert stable_number(clusterer, unit) == number


def test_scores_are_the_same_every_time() -> None:
    unit = normalize(np.random.default_rng(0).normal(size=(60, 4))).astype(np.float32)
    assert cluster_stability(KMeansClusterer(), unit) == cluster_stability(KMeansClusterer(), unit)


@pytest.mark.parametrize("count", [1, 2, 19])
def test_too_few_vectors_are_one_cluster(count: int) -> None:
    unit = normalize(np.random.default_rng(0).normal(size=(count, 4))).astype(np.float32)
    assert stable_number(KMeansClusterer(), unit) == 1


def test_equal_vectors_are_one_cluster() -> None:
    assert stable_number(KMeansClusterer(), np.ones((100, 1), dtype=np.float32)) == 1
