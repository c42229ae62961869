"""True regions, and found regions with the true foreground or true classes: what each step costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from dcn.evaluation.metrics import classification_metrics
from dcn.evaluation.protocols import Regions, knn_confusions, matched_classes
from dcn.evaluation.region_clusters import RegionClusters
from dcn.evaluation.true_regions import foreground_upper_bound, with_true_foreground
from dcn.options import Options
from flows.evaluation.confusions import ConfusionTally, Matrix
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.kmeans_runs import (
    SeedMetrics,
    cluster_confusions,
    fit_clusters,
    metrics_over_seeds,
    predict_clusters,
    wanted_clusters,
)
from flows.evaluation.knn_bank import read_bank
from flows.evaluation.protocol import Column, Group, Protocol, Tally
from flows.evaluation.region_table import read_true_regions, region_blocks, true_region_blocks
from flows.settings import Settings
from flows.stage import Job, Warn


class PixelMetrics(Options):
    """Mean IoU and pixel accuracy; None unless two classes are labelled. JSON."""

    miou: float | None
    accuracy: float | None


class TrueRegionsMetrics(Options):
    """Metrics with parts of the truth in place of what was found. JSON.

    :func:`flows.evaluation.costs.cost_table` sets them beside the metrics of other protocols.

    Attributes:
        kmeans: classes of the true regions by the clusterer of the run. All classes but the background are
            foreground.
        knn: classes of the true regions by each number of neighbors; the bank has true regions as well. Empty
            without numbers of neighbors, or if the training split is not labelled.
        kmeans_of_true_foreground: likewise of the found regions, where a region is foreground if most of its
            labelled pixels are no background.
        upper_bound_of_foreground: each found region of the found foreground has its majority class, and the
            rest is background.

    """

    kmeans: SeedMetrics
    knn: dict[int, PixelMetrics]
    kmeans_of_true_foreground: SeedMetrics
    upper_bound_of_foreground: PixelMetrics


class TrueRegions(Protocol[TrueRegionsMetrics]):
    """The true regions of a photograph, one for each class in it, go the same way as the found ones.

    Embedding, clusterer, seeds, matching and bank are those of the protocols ``kmeans`` and ``knn``.
    """

    name = "true_regions"
    group = Group.GROUND_TRUTH
    needs_labels = True
    metrics_type = TrueRegionsMetrics

    def applies(self, run: EvaluatedRun) -> bool:
        return super().applies(run) and run.settings.embeds_true_regions

    def columns(self) -> tuple[Column[TrueRegionsMetrics], ...]:
        return (
            Column("true_regions_miou", "cluster mIoU of true regions", lambda found: found.kmeans.miou),
            Column(
                "true_regions_accuracy",
                "cluster accuracy of true regions",
                lambda found: found.kmeans.accuracy,
            ),
        )

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[TrueRegionsMetrics]:
        of_true = fit_clusters(run, rows, true_region_blocks)
        of_foreground = fit_clusters(run, rows, _blocks_with_true_foreground)
        neighbors = run.settings.evaluate.neighbors
        bank = read_bank(run, true_region_blocks)[0] if neighbors else None

        def confusions(block: Regions) -> dict[tuple[str, int], Matrix]:
            true = read_true_regions(run.job, np.unique(block.image))
            true_foreground = _with_true_foreground(run.settings, block)
            return {
                **_keyed("kmeans", _clustered(true, of_true)),
                **_keyed("knn", {} if bank is None else knn_confusions(bank, true, neighbors)),
                **_keyed("true foreground", _clustered(true_foreground, of_foreground)),
                ("found foreground", 0): foreground_upper_bound(block.overlap, block.foreground),
            }

        def metrics(totals: Mapping[tuple[str, int], Matrix]) -> TrueRegionsMetrics:
            reached = _metrics(totals)
            if wanted_clusters(run) is not None:
                return reached
            found = {"kmeans": of_true, "kmeans_of_true_foreground": of_foreground}
            return reached.model_copy(
                update={name: _with_number(getattr(reached, name), fitted) for name, fitted in found.items()}
            )

        return ConfusionTally[tuple[str, int], TrueRegionsMetrics](confusions, metrics)


def _blocks_with_true_foreground(job: Job, rows: npt.NDArray[np.int64]) -> Iterator[Regions]:
    return (_with_true_foreground(job.settings, block) for block in region_blocks(job, rows))


def _with_true_foreground(settings: Settings, block: Regions) -> Regions:
    """Replace the foreground by the true one; without a foreground step all regions stay foreground."""
    return with_true_foreground(block) if settings.finds_foreground else block


def _with_number(metrics: SeedMetrics, fitted: list[RegionClusters]) -> SeedMetrics:
    return metrics.model_copy(update={"clusters": fitted[0].clusters.count})


def _clustered(regions: Regions, fitted: list[RegionClusters]) -> dict[int, Matrix]:
    return cluster_confusions(regions, predict_clusters(regions, fitted))


def _keyed(what: str, matrices: Mapping[int, Matrix]) -> dict[tuple[str, int], Matrix]:
    return {(what, number): matrix for number, matrix in matrices.items()}


def _metrics(totals: Mapping[tuple[str, int], Matrix]) -> TrueRegionsMetrics:
    def of(what: str) -> dict[int, Matrix]:
        return {number: matrix for (of_what, number), matrix in totals.items() if of_what == what}

    def over_seeds(what: str) -> SeedMetrics:
        return metrics_over_seeds([matched_classes(matrix)[1] for matrix in of(what).values()])

    return TrueRegionsMetrics(
        kmeans=over_seeds("kmeans"),
        knn={k: _pixel_metrics(matrix) for k, matrix in of("knn").items()},
        kmeans_of_true_foreground=over_seeds("true foreground"),
        upper_bound_of_foreground=_pixel_metrics(totals["found foreground", 0]),
    )


def _pixel_metrics(matrix: Matrix) -> PixelMetrics:
    reached = classification_metrics(matrix).model_dump(include={"miou", "accuracy"})
    return PixelMetrics.model_validate(reached)
