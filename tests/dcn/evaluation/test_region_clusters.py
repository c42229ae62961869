"""Clusters of regions by every clusterer: which region is in which, and what a new one gets."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from dcn.clusterers import (
    CLUSTERERS,
    AgglomerativeClusterer,
    BalancedClusterer,
    Clusterer,
    KMeansClusterer,
    SpectralClusterer,
)
from dcn.evaluation.protocols import Regions
from dcn.evaluation.region_clusters import cluster_regions

# Spectral clustering of a few dozen regions needs a graph of fewer neighbors than that of thousands.
ALL: list[Clusterer] = [
    KMeansClusterer(),
    SpectralClusterer(num_neighbors=8, num_eigenvectors=4),
    BalancedClusterer(),
    AgglomerativeClusterer(),
]


def test_every_clusterer_of_the_table_is_tested() -> None:
    assert {type(clusterer) for clusterer in ALL} == set(CLUSTERERS)


def regions_of(embedding: np.ndarray, foreground: np.ndarray | None = None) -> Regions:
    """Two regions of each photograph. The photographs come from the last to the first."""
    count = len(embedding)
    return Regions(
        image=(count - 1 - np.arange(count)) // 2,
        index=np.arange(count) % 2,
        overlap=np.ones((count, 1), dtype=np.int64),
        foreground=np.ones(count, dtype=bool) if foreground is None else foreground,
        embedding=embedding.astype(np.float32),
    )


def groups(number: int, count: int, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around the axes, and their group."""
    rng = np.random.default_rng(0)
    kind = np.arange(count) % number
    return (np.eye(number)[kind] + noise * rng.normal(size=(count, number))) * 3, kind


@pytest.mark.parametrize("clusterer", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("overclustering", [1, 4])
def test_separate_groups_are_the_clusters(clusterer: Clusterer, overclustering: int) -> None:
    embedding, kind = groups(4, 80)
    foreground = np.arange(80) >= 8
    regions = regions_of(embedding, foreground)
    runs = cluster_regions(regions, clusterer, 4, 3, overclustering)
    assert len(runs) == (3 if clusterer.seeded else 1)
    for found in runs[:1]:
        predicted = found.predict(regions)
        assert not predicted[~foreground].any()
        assert len(set(zip(predicted[foreground], kind[foreground]))) == found.clusters.count == 4
        # New regions of the same groups, which no photograph had.
        new = regions_of(np.eye(4))
        new = Regions(new.image + 1000, new.index, new.overlap, new.foreground, new.embedding)
        assert [set(kind[predicted == cluster]) for cluster in found.predict(new)] == [{0}, {1}, {2}, {3}]


def test_plain_kmeans_is_that_of_scikit_learn_to_the_bit() -> None:
    embedding = np.random.default_rng(0).normal(size=(70, 6))
    regions = regions_of(embedding)
    in_order = regions.take(np.lexsort((regions.index, regions.image)))
    for seed, found in enumerate(cluster_regions(in_order, KMeansClusterer(), 5, 3)):
        theirs = KMeans(5, n_init=1, random_state=seed).fit(normalize(in_order.embedding))
        np.testing.assert_array_equal(found.clusters.labels, theirs.labels_)
        np.testing.assert_array_equal(found.clusters.centers, theirs.cluster_centers_)
        assert found.clusters.inertia == theirs.inertia_


@pytest.mark.parametrize("clusterer", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("seeds", [1, 5])
def test_the_number_of_threads_changes_no_bit(clusterer: Clusterer, seeds: int) -> None:
    """Sums of float32 in another order have another last bit. scikit-learn divides them among threads."""
    regions, found = regions_of(np.random.default_rng(0).normal(size=(1000, 60))), []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        with threadpool_limits(threads, "openmp"):
            found.append(cluster_regions(regions, clusterer, 7, seeds))
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.clusters.labels, other.clusters.labels)
        np.testing.assert_array_equal(one.clusters.centers, other.clusters.centers)


def test_merged_clusters_keep_the_centers_of_their_parts() -> None:
    embedding, _ = groups(3, 60)
    (found,) = cluster_regions(regions_of(embedding), KMeansClusterer(), 3, 1, 5)
    assert found.clusters.centers.shape == (15, 3)
    assert sorted(set(found.clusters.cluster_of_center)) == [0, 1, 2]
    nearest = ((normalize(embedding)[:, None] - found.clusters.centers) ** 2).sum(axis=-1).argmin(axis=1)
    labels = found.predict(regions_of(embedding)) - 1
    np.testing.assert_array_equal(labels, found.clusters.cluster_of_center[nearest])
    means = np.stack([normalize(embedding)[labels == k].mean(axis=0) for k in labels])
    assert found.clusters.inertia == pytest.approx(((normalize(embedding) - means) ** 2).sum(), rel=1e-5)


def test_a_clustered_region_keeps_its_cluster_and_the_agreement_says_how_many_centers_would_differ() -> None:
    rng = np.random.default_rng(0)
    regions = regions_of(rng.normal(size=(90, 3)))
    (found,) = cluster_regions(regions, AgglomerativeClusterer(linkage="complete"), 5, 1)
    own = AgglomerativeClusterer(linkage="complete").labels(normalize(regions.embedding), 5, 0)
    predicted = found.predict(regions)
    assert len(set(zip(own, predicted))) == 5
    of_center = found.clusters.nearest(normalize(regions.embedding)) + 1
    assert found.agreement == pytest.approx((of_center == predicted).mean())
    assert found.agreement is not None
    assert 0.5 < found.agreement < 1
    (of_kmeans,) = cluster_regions(regions, KMeansClusterer(), 5, 1)
    assert of_kmeans.agreement is None


@pytest.mark.parametrize("clusterer", ALL, ids=lambda one: one.name)
def test_more_classes_than_regions(clusterer: Clusterer) -> None:
    found = cluster_regions(regions_of(np.eye(4)), clusterer, 20, 1, 3)[0]
    assert 1 <= found.clusters.count <= 4
    assert set(found.predict(regions_of(np.eye(4)))) == set(range(1, found.clusters.count + 1))


@pytest.mark.parametrize("clusterer", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("wanted", [7, None])
def test_equal_regions_are_one_class(clusterer: Clusterer, wanted: int | None) -> None:
    regions = regions_of(np.ones((50, 3)))
    found = cluster_regions(regions, clusterer, wanted, 1)[0]
    assert set(found.predict(regions)) == {1}


@pytest.mark.parametrize("clusterer", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("wanted", [7, None])
def test_no_region_is_no_class(clusterer: Clusterer, wanted: int | None) -> None:
    found = cluster_regions(regions_of(np.zeros((6, 3))), clusterer, wanted, 1)[0]
    assert found.clusters.count == 0
    assert found.predict(regions_of(np.eye(3))).tolist() == [0, 0, 0]


def test_a_larger_data_set_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpectralClusterer, "most_vectors", 60)
    embedding, kind = groups(3, 300)
    regions = regions_of(embedding)
    found = cluster_regions(regions, SpectralClusterer(num_neighbors=10, num_eigenvectors=3), 3, 1)[0]
    assert len(found.clusters.labels) == 60
    predicted = found.predict(regions)
    assert len(set(zip(predicted, kind))) == 3
    assert predicted.all()


def test_the_number_of_groups_is_found() -> None:
    embedding, _ = groups(5, 150)
    assert cluster_regions(regions_of(embedding), KMeansClusterer(), None, 1)[0].clusters.count == 5
