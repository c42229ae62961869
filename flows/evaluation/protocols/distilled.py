"""Classes of pixels by the head of ``distill``, matched to the classes of the ground truth as for k-means."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dcn.errors import InvalidPhotographError
from dcn.evaluation.metrics import ClassificationMetrics
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.protocols import Regions, matched_classes
from dcn.options import Options
from flows.evaluation.confusions import ConfusionTally, Matrix
from flows.evaluation.inputs import EvaluatedRun, Photograph
from flows.evaluation.protocol import (
    Classification,
    Column,
    Group,
    Headline,
    Protocol,
    ProtocolArray,
    Rows,
    Tally,
    meaning_of,
    shown_metric,
)
from flows.inputs.datasets import read_photograph
from flows.inputs.summaries import DistillSummary
from flows.settings import Settings
from flows.stage import Warn
from storage import ArraySpec

# Class of each cluster [K + 1] of the head; cluster 0 is its background.
DISTILLED_CLASS_OF_CLUSTER = "distilled_class_of_cluster.npy"


class DistilledMetrics(Options):
    """Metrics of the classes by the head. JSON.

    Attributes:
        clusters: number of clusters, without the background.
        vanished: number of clusters that the head gives to no labelled pixel.
        agreement: share of the held-out patches to which the head gives the cluster of their region; after
            several rounds the cluster that the head before gave them.
        miou: mean IoU; None unless two classes are labelled.
        accuracy: pixel accuracy; None likewise.
        class_iou: ``[C]`` IoU of each class.
        confusion: ``[C, C]`` confusion matrix.

    """

    clusters: int
    vanished: int
    agreement: float
    miou: float | None
    accuracy: float | None
    class_iou: list[float | None]
    confusion: list[list[int]]


class Distilled(Protocol[DistilledMetrics]):
    """Array ``distilled_overlap [N, K + 1, C]``: pixels of each cluster of the head in each class.

    The map of the head has a class for each patch; its borders follow the photograph as those of regions do.
    The file ``distilled_class_of_cluster.npy`` has the class of each cluster.
    """

    name = "distilled"
    group = Group.CLASSES
    needs_labels = True
    metrics_type = DistilledMetrics

    def is_wanted(self, settings: Settings) -> bool:
        return settings.distills

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        shape = (DistillSummary.read(run.job).clusters + 1, run.num_classes)
        return (ProtocolArray(ArraySpec("distilled_overlap", shape, "int64", ("cluster", "class"))),)

    def measure(self, photograph: Photograph) -> Rows:
        from dcn.refinement import pixel_label_maps
        from flows.inputs.class_head import patch_clusters

        if photograph.mask is None:
            return {}
        run, segment = photograph.run, photograph.run.settings.segment
        try:
            pixels = read_photograph(run.dataset, photograph.image)  # its edges guide the borders
        except InvalidPhotographError:  # it changed since its regions were found; nothing of it counts
            return {}
        clusters = patch_clusters(run.job, photograph.image.row)  # [n, K + 1]
        [labels] = pixel_label_maps([clusters], pixels, segment.refine, segment.smallest_part)  # [H, W]
        overlap = region_overlap(labels, photograph.mask, clusters.shape[1], run.num_classes)
        return {"distilled_overlap": overlap}

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[DistilledMetrics]:
        def confusions(block: Regions) -> dict[None, Matrix]:
            return {None: run.read("distilled_overlap", np.unique(block.image)).sum(axis=0)}  # [K + 1, C]

        def metrics(totals: Mapping[None, Matrix]) -> DistilledMetrics:
            summary = DistillSummary.read(run.job)
            class_of_cluster, reached = matched_classes(totals[None])
            run.checkpoint.write_values(DISTILLED_CLASS_OF_CLUSTER, class_of_cluster)
            return DistilledMetrics(
                clusters=summary.clusters,
                vanished=int((totals[None][1:].sum(axis=1) == 0).sum()),
                agreement=summary.agreement[-1],
                **reached.model_dump(),
            )

        return ConfusionTally[None, DistilledMetrics](confusions, metrics)

    def headline(self, metrics: DistilledMetrics) -> list[Headline]:
        agreement = f"agrees on {100 * metrics.agreement:.0f} % of the held-out patches"
        return [
            Headline(
                "distilled mIoU",
                shown_metric(metrics.miou),
                meaning_of(metrics.miou, agreement),
                "The same measure for the classes of the head, which needs no look at single regions.",
            ),
            Headline("distilled pixel accuracy", shown_metric(metrics.accuracy), "likewise"),
        ]

    def columns(self) -> tuple[Column[DistilledMetrics], ...]:
        return (
            Column("distilled_miou", "distilled mIoU", lambda found: found.miou, curve=True),
            Column("distilled_accuracy", "distilled accuracy", lambda found: found.accuracy),
        )

    def classifications(self, metrics: DistilledMetrics) -> list[Classification]:
        reached = ClassificationMetrics(
            miou=metrics.miou,
            accuracy=metrics.accuracy,
            class_iou=metrics.class_iou,
            confusion=metrics.confusion,
        )
        return [Classification("distilled head", reached)]
