"""Classes by clusters of regions, matched to the true classes by the Hungarian algorithm (section 4.3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dcn.clusterers import KMeansClusterer
from dcn.evaluation.metrics import ClassificationMetrics
from dcn.evaluation.protocols import Regions, matched_classes
from dcn.evaluation.region_clusters import RegionClusters
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
from flows.settings.choices import CLUSTERERS_BY_NAME
from flows.stage import Warn

# Class of every region [N, k] by the shown seed, for pictures and exports; -1 if a region does not occur or
# was not evaluated. Without ground truth the numbers are clusters.
SEMANTIC = "semantic.npy"
# Centers [c, d] by the shown seed, float32: means of unit vectors. A cluster has one, or those of the smaller
# clusters that it was merged of. The background has no center. Empty if the regions are classes already.
CENTERS = "class_centers.npy"
# Class of the background and then of each center [c + 1] by the shown seed. Without ground truth every
# cluster is a class.
CLASS_OF_CLUSTER = "class_of_cluster.npy"
_MIOU = (
    "How well the classes that were found cover those that people drew: for each class the shared area, "
    "divided by the area that either has; then the mean over the classes. 0 is nothing, 1 is perfect."
)
_ACCURACY = "Share of all pixels whose class is right, after each cluster was given the class that fits best."


class KMeansMetrics(Options):
    """Metrics of the classes by clusters. JSON.

    Attributes:
        clustering: name of the clusterer. This field and the next three are absent in the results of plain
            k-means.
        overclustering: how many times as many clusters were made before the most similar ones were merged.
        number_found: whether the number of clusters was found, and not given.
        center_agreement: share of the clustered regions that are in the cluster with the nearest center, of
            the shown seed. A new photograph is classified by the nearest center. So this says how well its
            classes follow the clusters. It is 1, and absent, where the clusters are made so.
        clusters: number of clusters, without the background.
        seeds: number of runs.
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

    clustering: str = KMeansClusterer().name
    overclustering: int = 1
    number_found: bool = False
    center_agreement: float | None = None
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

    @property
    def method(self) -> str:
        """Name of the method for tables and pages: ``k-means``, ``spectral clustering``."""
        return CLUSTERERS_BY_NAME[self.clustering].title

    @property
    def shown_clusters(self) -> str:
        """Number of clusters, and where it comes from, as text."""
        merged = f", merged from {self.overclustering} times as many" if self.overclustering > 1 else ""
        found = ", the most stable number" if self.number_found else ""
        return f"{self.clusters} clusters{found}{merged}"


class KMeans(Protocol[KMeansMetrics]):
    """Writes files as well, by the shown seed: the class of every region, center and class of every cluster.

    With the last two, the regions of another photograph get the same classes.

    The clusterer (``evaluate.clustering``, k-means unless chosen) learns from the foreground regions of
    ``evaluate.sampled_images`` evaluated photographs. Then every other evaluated region belongs to the
    cluster with the nearest center. If regions are classes already (segmenter ``pixels``), the regions
    themselves are the clusters.
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
            found = ", the most stable number" if metrics.number_found else ""
            meaning = f"of the {what}{found}"
            return [Headline(f"{metrics.method} clusters", f"{metrics.clusters}", meaning, explanation)]
        seeds = f", {metrics.seeds} seeds" if metrics.seeds > 1 else ""
        all_regions = ", all regions" if metrics.background else ""
        runs = meaning_of(metrics.miou, f"{metrics.shown_clusters}{seeds}{all_regions}")
        miou = shown_mean(metrics.miou, metrics.miou_deviation, metrics.seeds)
        accuracy = shown_mean(metrics.accuracy, metrics.accuracy_deviation, metrics.seeds)
        return [
            Headline(f"{metrics.method} mIoU", miou, runs, _MIOU),
            Headline(f"{metrics.method} pixel accuracy", accuracy, "likewise", _ACCURACY),
        ]

    def columns(self) -> tuple[Column[KMeansMetrics], ...]:
        return (
            Column(
                "kmeans_miou",
                "cluster mIoU",
                lambda found: found.miou,
                deviation=lambda found: found.miou_deviation if found.seeds > 1 else None,
                curve=True,
            ),
            Column(
                "kmeans_accuracy",
                "cluster accuracy",
                lambda found: found.accuracy,
                deviation=lambda found: found.accuracy_deviation if found.seeds > 1 else None,
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
        return [Classification(metrics.method, reached, metrics.miou_deviation, metrics.accuracy_deviation)]


class _KMeansTally(Tally[KMeansMetrics]):
    def __init__(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> None:
        self._run = run
        self._warn = warn
        self._clusterer = run.settings.evaluate.clustering
        self._wanted = wanted_clusters(run)
        self._fitted = [] if run.settings.regions_are_classes else fit_clusters(run, rows, region_blocks)
        inertia = [found.clusters.inertia for found in self._fitted]
        self._shown = int(np.argmin(inertia)) if inertia else 0
        self._semantic = np.full((len(run.index), run.num_regions), -1, dtype=np.int16)
        self._totals: dict[int, Matrix] = {}  # [K, C] by seed
        self._background = {} if run.settings.finds_foreground else {"background": "none"}

    def add(self, block: Regions) -> None:
        runs = predict_clusters(block, self._fitted) or [block.index]
        self._semantic[block.image, block.index] = runs[self._shown]
        add_confusions(self._totals, cluster_confusions(block, runs))

    def metrics(self) -> KMeansMetrics:
        shown = self._fitted[self._shown] if self._fitted else None
        found = self._run.num_regions if shown is None else shown.clusters.count
        if shown is not None and self._wanted is not None and found < self._wanted:
            count = len(shown.clusters.labels)
            few = f"there are only {count}" if count == found else f"it finds no more in the {count}"
            clustered = "regions" if self._background else "foreground regions"
            self._warn(
                f"{self._clusterer.title} has {found} clusters instead of {self._wanted}: {few} {clustered}"
            )
        clusters: dict[str, object] = {"clusters": found, "seeds": max(1, len(self._fitted))}
        clusters |= {"shown_seed": self._shown, **self._background}
        class_of_cluster = np.arange(found + (shown is not None))  # [K + 1]
        reached: dict[str, object] = {} if shown is None else self._how(shown)
        if self._totals[self._shown].any():  # else nothing is labelled
            matched, metrics = self._matched()
            reached |= metrics
            class_of_cluster = np.pad(matched, (0, len(class_of_cluster) - len(matched)))
            _rename(self._semantic, class_of_cluster)
        centers = np.zeros((0, 0), np.float32)
        if shown is not None:
            centers = shown.clusters.centers
            class_of_cluster = class_of_cluster[np.append(0, shown.clusters.cluster_of_center + 1)]  # [c + 1]
        for name, values in (
            (SEMANTIC, self._semantic),
            (CENTERS, centers),
            (CLASS_OF_CLUSTER, class_of_cluster),
        ):
            self._run.checkpoint.write_values(name, values)
        return KMeansMetrics.model_validate({**clusters, **reached})

    def _how(self, shown: RegionClusters) -> dict[str, object]:
        """Say how the clusters were made, where that is not plain k-means."""
        settings = self._run.settings.evaluate
        made = {
            "clustering": settings.clustering.name,
            "overclustering": settings.overclustering,
            "number_found": self._wanted is None,
            "center_agreement": shown.agreement,
        }
        usual = {name: KMeansMetrics.model_fields[name].default for name in made}
        return {name: value for name, value in made.items() if value != usual[name]}

    def _matched(self) -> tuple[npt.NDArray[np.int64], dict[str, object]]:
        """Match clusters to classes. Returns the classes of the shown seed, and metrics over all seeds."""
        classified = [matched_classes(matrix) for matrix in self._totals.values()]
        results = metrics_over_seeds([reached for _, reached in classified]).model_dump(exclude_unset=True)
        class_of_cluster, shown = classified[self._shown]
        return class_of_cluster, results | {"class_iou": shown.class_iou, "confusion": shown.confusion}


def _rename(semantic: npt.NDArray[np.int16], classes: npt.NDArray[np.int64]) -> None:
    """Replace clusters by their classes ``[K]``, in place; -1 stays."""
    table = np.append(classes, -1).astype(np.int16)
    for start in range(0, len(semantic), 1 << 16):  # a copy of all rows at once would be as large as they are
        semantic[start : start + (1 << 16)] = table[semantic[start : start + (1 << 16)]]
