"""Clusters of the regions of a run, found or true, by k-means or another clusterer (section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dcn.evaluation.metrics import ClassificationMetrics
from dcn.evaluation.overlap import confusion_matrix
from dcn.evaluation.protocols import Regions, join_regions, mean_and_deviation
from dcn.evaluation.region_clusters import RegionClusters, cluster_regions
from dcn.options import Options
from flows.evaluation.confusions import Matrix
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.region_table import ReadBlocks
from flows.inputs.image_index import evenly_spread

_DEFAULT_CLUSTERS = 20


class SeedMetrics(Options):
    """Metrics of clusters: mean and standard deviation over the seeds. JSON.

    Attributes:
        miou: mean IoU; None, like the others, unless two classes are labelled.
        miou_deviation: standard deviation of the mean IoU.
        accuracy: pixel accuracy.
        accuracy_deviation: standard deviation of the pixel accuracy.
        clusters: number of clusters; absent unless it was found.

    """

    miou: float | None
    miou_deviation: float | None
    accuracy: float | None
    accuracy_deviation: float | None
    clusters: int | None = None


def wanted_clusters(run: EvaluatedRun) -> int | None:
    """Number of clusters to make: as the settings say, or one for each class; None finds it.

    The background is such a class only if there is no foreground step, and some mask has it.
    """
    wanted = run.settings.evaluate.num_clusters
    if wanted is not None:
        return None if wanted == "auto" else wanted
    if not run.num_classes:
        return _DEFAULT_CLUSTERS
    without_first = run.settings.finds_foreground or 0 not in run.index.true_labels
    return run.num_classes - without_first


def fit_clusters(run: EvaluatedRun, rows: npt.NDArray[np.int64], read: ReadBlocks) -> list[RegionClusters]:
    """Cluster the foreground regions of a sample of the photographs, once for each seed.

    Args:
        run: the run.
        rows: rows of the photographs. The sample has ``evaluate.sampled_images`` of them.
        read: reads the regions of some photographs.

    """
    settings = run.settings.evaluate
    sampled = read(run.job, evenly_spread(rows, settings.sampled_images))
    foreground = join_regions([regions.take(regions.foreground) for regions in sampled])
    return cluster_regions(
        foreground, settings.clustering, wanted_clusters(run), settings.num_seeds, settings.overclustering
    )


def cluster_confusions(regions: Regions, predicted: Sequence[npt.NDArray[np.int64]]) -> dict[int, Matrix]:
    """Count the pixels ``[K, C]`` of every cluster in every class, by seed.

    Args:
        regions: ``R`` regions.
        predicted: ``[R]`` clusters by each seed.

    """
    return {
        seed: confusion_matrix(regions.overlap, clusters, int(clusters.max(initial=0)) + 1)
        for seed, clusters in enumerate(predicted)
    }


def predict_clusters(regions: Regions, fitted: Sequence[RegionClusters]) -> list[npt.NDArray[np.int64]]:
    """Assign every region to a cluster, ``[R]`` by each seed; 0 is the background."""
    return [clusters.predict(regions) for clusters in fitted]


def metrics_over_seeds(reached: Sequence[ClassificationMetrics]) -> SeedMetrics:
    """Average metrics over the seeds. Some pixel must be labelled."""
    found: dict[str, float | None] = {}
    for name in ("miou", "accuracy"):
        values = [getattr(metrics, name) for metrics in reached]
        undefined = None in values  # for every seed, because the ground truth is the same
        found[name], found[f"{name}_deviation"] = (None, None) if undefined else mean_and_deviation(values)
    return SeedMetrics(**found)
