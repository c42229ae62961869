"""Clusters of regions by their embeddings, with any clusterer and number of clusters (section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dcn.clusterers import Clusterer
from dcn.clusterers.merging import merge_clusters
from dcn.clusterers.stability import stable_number
from dcn.clustering import Clusters, clusters_of_labels, count_distinct, no_clusters
from dcn.evaluation.protocols import Regions

# More than the number of any region in its photograph.
_REGIONS = 1 << 16
# Bytes of the copies that seeds make of their points. If they are more, one seed runs after the other.
_MOST_BYTES = 1 << 31


@dataclass(frozen=True)
class RegionClusters:
    """Clusters of foreground regions.

    Attributes:
        clusters: the clusters of ``m`` regions.
        known: ``[m]`` number of each of these regions in the data set, ascending, in the order of
            ``clusters.labels``; empty if all regions are in the cluster with the nearest center.
        agreement: share of the ``m`` regions that are in the cluster with the nearest center; None if all are
            by definition. So it says how alike new photographs are treated.

    """

    clusters: Clusters
    known: npt.NDArray[np.int64]
    agreement: float | None = None

    def predict(self, regions: Regions) -> npt.NDArray[np.int64]:
        """Find the cluster of every region, one that was clustered or a new one.

        Returns:
            ``[R]`` clusters, counted from 1. Background regions and regions without embedding have 0.

        """
        from sklearn.preprocessing import normalize

        predicted = np.zeros(len(regions.foreground), dtype=np.int64)
        chosen = np.flatnonzero(regions.foreground & regions.embedded)
        if not len(chosen) or not self.clusters.count:
            return predicted
        predicted[chosen] = self.clusters.nearest(normalize(regions.embedding[chosen])) + 1
        if len(self.known):
            numbers = _numbers(regions)[chosen]
            place = np.searchsorted(self.known, numbers).clip(max=len(self.known) - 1)
            clustered = self.known[place] == numbers
            predicted[chosen[clustered]] = self.clusters.labels[place[clustered]] + 1
        return predicted


def cluster_regions(
    regions: Regions,
    clusterer: Clusterer,
    num_clusters: int | None,
    seeds: int,
    overclustering: int = 1,
) -> list[RegionClusters]:
    """Cluster the embeddings of foreground regions, once for each seed.

    Args:
        regions: regions to learn from. Background regions and regions without embedding are left out.
        clusterer: makes the clusters.
        num_clusters: most clusters that are made; fewer if there are fewer distinct embeddings. None finds
            the number that is most stable (:mod:`dcn.clusterers.stability`).
        seeds: number of runs; their seeds are 0, 1, ... A clusterer without seeds runs once.
        overclustering: first make this many times as many clusters, and then merge the most similar ones
            (:mod:`dcn.clusterers.merging`).

    """
    from sklearn.preprocessing import normalize

    from dcn.kernels.cpu_threads import compute_alone, map_in_threads

    numbers = _numbers(regions)
    learned = np.flatnonzero(regions.foreground & regions.embedded)  # [m]
    learned = learned[np.argsort(numbers[learned], kind="stable")]
    most = clusterer.most_vectors or len(learned)
    learned = learned[np.linspace(0, len(learned) - 1, min(most, len(learned))).round().astype(np.int64)]
    runs = range(seeds if clusterer.seeded else 1)
    if not len(learned):
        return [RegionClusters(no_clusters(regions.embedding.shape[1]), learned) for _ in runs]
    unit = normalize(regions.embedding[learned])  # [m, d]
    points = clusterer.points(unit)
    with compute_alone():
        wanted = num_clusters or stable_number(clusterer, unit)
    first = count_distinct(unit, wanted * overclustering)

    def run(seed: int) -> RegionClusters:
        clusters = clusterer.cluster(unit, points, first, seed)
        if clusters.count > wanted:
            clusters = _merged(clusters, unit, wanted)
        if clusterer.by_center:
            return RegionClusters(clusters, learned[:0])
        agreement = float((clusters.nearest(unit) == clusters.labels).mean())
        return RegionClusters(clusters, numbers[learned], agreement)

    at_once = points.nbytes * len(runs) <= _MOST_BYTES
    with compute_alone():
        return map_in_threads(run, runs) if at_once else [run(seed) for seed in runs]


def _merged(clusters: Clusters, unit: npt.NDArray[np.float32], wanted: int) -> Clusters:
    """Merge clusters until ``wanted`` are left. Each keeps the centers of its parts."""
    sizes = np.bincount(clusters.labels, minlength=clusters.count)
    merged = merge_clusters(clusters.centers, sizes, wanted)  # [F]
    labels = merged[clusters.labels]
    return replace(
        clusters, labels=labels, cluster_of_center=merged, inertia=clusters_of_labels(unit, labels).inertia
    )


def _numbers(regions: Regions) -> npt.NDArray[np.int64]:
    """Number every region in the data set."""
    return regions.image * _REGIONS + regions.index
