"""The clusters of the regions of the training photographs: what the head learns in its first round."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcn.clustering import Clusters, center_distances
from dcn.distillation import NO_CLASS, confident
from flows.errors import EmptyDatasetError
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.kmeans_runs import fit_clusters, predict_clusters
from flows.evaluation.region_table import blocks_without_truth
from flows.inputs.region_counts import region_counts
from flows.stage import Job


def find_clusters(job: Job) -> Clusters:
    """Cluster the regions of the evaluated split as the protocol ``kmeans`` does, by its shown seed.

    Raises:
        EmptyDatasetError: no region can be clustered.

    """
    run = EvaluatedRun.open(job)
    rows = run.evaluated_rows()
    fitted = fit_clusters(run, rows[region_counts(job)[rows] > 0], blocks_without_truth)
    shown = min(fitted, key=lambda clusters: clusters.inertia)  # the first of equal ones, as argmin has it
    if not len(shown.centers):
        raise EmptyDatasetError(
            f"no foreground region of the split {run.index.summary.evaluate_split} has an embedding, so "
            f"there are no clusters that a head could learn; dcn embed says why"
        )
    return shown


def region_classes(
    job: Job, clusters: Clusters, rows: npt.NDArray[np.int64], left_out: float
) -> npt.NDArray[np.int16]:
    """Find the cluster of every region that is near enough to its center to teach it.

    Args:
        job: the run.
        clusters: the clusters.
        rows: rows of the photographs that the head learns from.
        left_out: share of the regions of each cluster, the farthest, that teach nothing.

    Returns:
        ``[N, k]``: 0 for background, 1 to K for a cluster; :data:`dcn.distillation.NO_CLASS` for a region
        that teaches nothing or does not occur, and for all other photographs.

    """
    shape = (len(region_counts(job)), job.settings.num_regions)
    classes = np.full(shape, NO_CLASS, dtype=np.int16)
    distance = np.zeros(shape, dtype=np.float32)
    for block in blocks_without_truth(job, rows):
        (cluster,) = predict_clusters(block, [clusters])  # [R]
        member = np.flatnonzero(cluster)
        place = block.image[member], block.index[member]
        to_centers = center_distances(block.embedding[member], clusters.centers)  # [m, K]
        distance[place] = to_centers[np.arange(len(member)), cluster[member] - 1]
        unknown = block.foreground & ~block.embedded
        classes[block.image, block.index] = np.where(unknown, NO_CLASS, cluster)
    in_cluster = classes > 0  # background has no center, and is sure
    kept = confident(classes[in_cluster], distance[in_cluster], left_out)
    classes[in_cluster] = np.where(kept, classes[in_cluster], NO_CLASS)
    return classes
