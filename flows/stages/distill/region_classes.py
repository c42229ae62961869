"""The clusters of the regions of the training photographs: what the head learns in its first round."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dcn.clustering import center_distances
from dcn.distillation import NO_CLASS, confident
from flows.errors import EmptyDatasetError
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.kmeans_runs import fit_clusters, predict_clusters
from flows.evaluation.region_table import blocks_without_truth
from flows.inputs.region_counts import region_counts
from flows.stage import Job


class RegionClasses(NamedTuple):
    """What regions teach.

    Attributes:
        clusters: number of clusters ``K``, without the background.
        classes: ``[N, k]``: 0 for background, 1 to K for a cluster; :data:`dcn.distillation.NO_CLASS` for a
            region that teaches nothing or does not occur, and for photographs that are not learned from.

    """

    clusters: int
    classes: npt.NDArray[np.int16]


def find_region_classes(job: Job, rows: npt.NDArray[np.int64], left_out: float) -> RegionClasses:
    """Cluster the regions of the evaluated split, and find those that are near enough to teach a cluster.

    The clusters are those of the protocol ``kmeans`` by its shown seed. No label is read. A region is as far
    from its cluster as from the nearest center of it.

    Args:
        job: the run.
        rows: rows of the photographs that the head learns from.
        left_out: share of the regions of each cluster, the farthest from its center, that teach nothing.

    Raises:
        EmptyDatasetError: no region can be clustered.

    """
    run, counts = EvaluatedRun.open(job), region_counts(job)
    evaluated = run.evaluated_rows()
    fitted = fit_clusters(run, evaluated[counts[evaluated] > 0], blocks_without_truth)
    shown = min(fitted, key=lambda found: found.clusters.inertia)  # the first of equal ones, as argmin has it
    clusters = shown.clusters
    if not clusters.count:
        raise EmptyDatasetError(
            f"no foreground region of the split {run.index.summary.evaluate_split} has an embedding, so "
            f"there are no clusters that a head could learn; dcn embed says why"
        )
    shape = (len(counts), job.settings.num_regions)
    classes = np.full(shape, NO_CLASS, dtype=np.int16)
    distance = np.zeros(shape, dtype=np.float32)
    for block in blocks_without_truth(job, rows):
        (cluster,) = predict_clusters(block, [shown])  # [R]
        member = np.flatnonzero(cluster)
        if len(member):
            to_centers = center_distances(block.embedding[member], clusters.centers)  # [m, c]
            other = clusters.cluster_of_center + 1 != cluster[member][:, None]  # [m, c]
            own = np.where(other, np.inf, to_centers).min(axis=1)  # [m]
            distance[block.image[member], block.index[member]] = own
        unknown = block.foreground & ~block.embedded
        classes[block.image, block.index] = np.where(unknown, NO_CLASS, cluster)
    in_cluster = classes > 0  # background has no center, and is sure
    kept = confident(classes[in_cluster], distance[in_cluster], left_out)
    classes[in_cluster] = np.where(kept, classes[in_cluster], NO_CLASS)
    return RegionClasses(clusters.count, classes)
