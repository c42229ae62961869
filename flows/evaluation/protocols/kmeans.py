"""k-means classification of regions: clusters matched to classes by the Hungarian algorithm (section 4.3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dcn.evaluation.metrics import ClassificationMetrics
from dcn.evaluation.protocols import Regions, matched_classes
from dcn.options import Options
from flows.evaluation.confusions import Matrix, add_confusions
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.kmeans_runs import (
    cluster_confusions,
    fit_clusters,
    metrics_over_seeds,
    predict_clusters,
    wanted_clusters,
)
from flows.evaluation.protocol import (
    Classification,
    Column,
    Group,
    Headline,
    Protocol,
    Tally,
    meaning_of,
    shown_mean,
)
from flows.evaluation.region_table import region_blocks
from flows.stage import Warn

# Class of every region [N, k] by the shown seed, for pictures and exports; -1 if a region does not occur or
# was not evaluated. Without ground truth the numbers are clusters.
SEMANTIC = "semantic.npy"
# Centers of the clusters [K, d] by the shown seed, float32: means of unit vectors. Row 0 is cluster 1: the
# background has no center. Empty if the regions are classes already.
CENTERS = "class_centers.npy"
# Class of each cluster [K + 1] by the shown seed. Without ground truth every cluster is a class.
CLASS_OF_CLUSTER = "class_of_cluster.npy"
_MIOU = (
    "How well the classes that were found cover those that people drew: for each class the shared area, "
    "divided by the area that either has; then the mean over the classes. 0 is nothing, 1 is perfect."
)
_ACCURACY = "Share of all pixels whose class is right, after each cluster was given the class that fits best."


class KMeansMetrics(Options):
    """Metrics of k-means classification. JSON.

    Attributes:
        clusters: number of clusters, without the background.
        seeds: number of runs of k-means.
        shown_seed: the run with the least inertia, which pictures show.
        background: ``none`` if all regions were clustered, because the run has no foreground step; else
            absent.
        miou: mean IoU, averaged over the seeds; None unless two classes are labelled. This field and the
            following ones are absent without labelled photographs.
        miou_deviation: standard deviation of the mean IoU over the seeds.
        accuracy: pixel accuracy, averaged over the seeds.
        accuracy_deviation: standard deviation of the pixel accuracy over the seeds.
        class_iou: ``[C]`` IoU of each class, of the shown seed.
        confusion: ``[C, C]`` confusion matrix of the shown seed.

    """

    clusters: int
    seeds: int
    shown_seed: int
    background: Literal["none"] | None = None
    miou: float | None = None
    miou_deviation: float | None = None
    accuracy: float | None = None
    accuracy_deviation: float | None = None
    class_iou: list[float | None] | None = None
    confusion: list[list[int]] | None = None

    @property
    def clustered(self) -> str:
        """What was clustered, for people."""
        return "foreground regions" if self.background is None else "regions"

    @property
    def matched(self) -> bool:
        """Whether clusters were matched with the classes of the ground truth."""
        return self.confusion is not None


class KMeans(Protocol[KMeansMetrics]):
    """Writes files as well, by the shown seed: the class of every region, center and class of every cluster.

    With the last two, the regions of another photograph get the same classes.

    k-means learns from the foreground regions of ``evaluate.sampled_images`` evaluated photographs, and then
    every evaluated region belongs to the cluster with the nearest center. If regions are classes already
    (segmenter ``pixels``), the regions themselves are the clusters.
    """

    name = "kmeans"
    version = 2
    group = Group.CLASSES
    metrics_type = KMeansMetrics

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[KMeansMetrics]:
        return _KMeansTally(run, rows, warn)

    def headline(self, metrics: KMeansMetrics) -> list[Headline]:
        if not metrics.matched:
            what = metrics.clustered
            explanation = (
                f"{what.capitalize()} of all photographs that look alike are one cluster, which is a class."
            )
            return [Headline("k-means clusters", f"{metrics.clusters}", f"of the {what}", explanation)]
        all_regions = ", all regions" if metrics.background else ""
        runs = meaning_of(metrics.miou, f"{metrics.clusters} clusters, {metrics.seeds} seeds{all_regions}")
        miou = shown_mean(metrics.miou, metrics.miou_deviation, metrics.seeds)
        accuracy = shown_mean(metrics.accuracy, metrics.accuracy_deviation, metrics.seeds)
        return [
            Headline("k-means mIoU", miou, runs, _MIOU),
            Headline("k-means pixel accuracy", accuracy, "over the same seeds", _ACCURACY),
        ]

    def columns(self) -> tuple[Column[KMeansMetrics], ...]:
        return (
            Column(
                "kmeans_miou",
                "k-means mIoU",
                lambda found: found.miou,
                deviation=lambda found: found.miou_deviation if found.seeds > 1 else None,
                curve=True,
            ),
        )

    def classifications(self, metrics: KMeansMetrics) -> list[Classification]:
        if metrics.class_iou is None or metrics.confusion is None:
            return []
        reached = ClassificationMetrics(
            miou=metrics.miou,
            accuracy=metrics.accuracy,
            class_iou=metrics.class_iou,
            confusion=metrics.confusion,
        )
        return [Classification("k-means", reached, metrics.miou_deviation, metrics.accuracy_deviation)]


class _KMeansTally(Tally[KMeansMetrics]):
    def __init__(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> None:
        self._run = run
        self._warn = warn
        self._wanted = wanted_clusters(run)
        self._fitted = [] if run.settings.regions_are_classes else fit_clusters(run, rows, region_blocks)
        inertia = [clusters.inertia for clusters in self._fitted]
        self._shown = int(np.argmin(inertia)) if inertia else 0
        self._semantic = np.full((len(run.index), run.num_regions), -1, dtype=np.int16)
        self._totals: dict[int, Matrix] = {}  # [K, C] by seed
        self._background = {} if run.settings.finds_foreground else {"background": "none"}

    def add(self, block: Regions) -> None:
        runs = predict_clusters(block, self._fitted) or [block.index]
        self._semantic[block.image, block.index] = runs[self._shown]
        add_confusions(self._totals, cluster_confusions(block, runs))

    def metrics(self) -> KMeansMetrics:
        found = len(self._fitted[0].centers) if self._fitted else self._run.num_regions
        if self._fitted and found < self._wanted:
            clustered = "regions" if self._background else "foreground regions"
            self._warn(
                f"k-means has {found} clusters instead of {self._wanted}: there are only "
                f"{len(self._fitted[0].labels)} {clustered}"
            )
        clusters: dict[str, object] = {"clusters": found, "seeds": max(1, len(self._fitted))}
        clusters |= {"shown_seed": self._shown, **self._background}
        class_of_cluster = np.arange(found + bool(self._fitted))  # [K + 1]
        reached: dict[str, object] = {}
        if self._totals[self._shown].any():  # else nothing is labelled
            matched, reached = self._matched()
            class_of_cluster = np.pad(matched, (0, len(class_of_cluster) - len(matched)))
            _rename(self._semantic, class_of_cluster)
        centers = self._fitted[self._shown].centers if self._fitted else np.zeros((0, 0), np.float32)
        for name, values in (
            (SEMANTIC, self._semantic),
            (CENTERS, centers),
            (CLASS_OF_CLUSTER, class_of_cluster),
        ):
            self._run.checkpoint.write_values(name, values)
        return KMeansMetrics.model_validate({**clusters, **reached})

    def _matched(self) -> tuple[npt.NDArray[np.int64], dict[str, object]]:
        """Match clusters to classes. Returns the classes of the shown seed, and metrics over all seeds."""
        classified = [matched_classes(matrix) for matrix in self._totals.values()]
        results = metrics_over_seeds([reached for _, reached in classified]).model_dump()
        class_of_cluster, shown = classified[self._shown]
        return class_of_cluster, results | {"class_iou": shown.class_iou, "confusion": shown.confusion}


def _rename(semantic: npt.NDArray[np.int16], classes: npt.NDArray[np.int64]) -> None:
    """Replace clusters by their classes ``[K]``, in place; -1 stays."""
    table = np.append(classes, -1).astype(np.int16)
    for start in range(0, len(semantic), 1 << 16):  # a copy of all rows at once would be as large as they are
        semantic[start : start + (1 << 16)] = table[semantic[start : start + (1 << 16)]]
