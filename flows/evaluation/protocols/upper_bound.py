"""Upper bound of classification: every region has the class of most of its pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcn.evaluation.metrics import ClassificationMetrics, classification_metrics
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.protocols import upper_bound
from flows.evaluation.confusions import ConfusionTally
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
    shown_metric,
)
from flows.stage import Warn
from storage import ArraySpec


class UpperBound(Protocol[ClassificationMetrics]):
    """Array ``overlap [N, k, C]``: the pixels of each region in each class, 0 without ground truth.

    :func:`flows.evaluation.region_table.region_blocks` reads the array for all protocols; the bank of k-NN
    needs it of the training split as well.
    """

    name = "upper_bound"
    group = Group.GROUND_TRUTH
    needs_labels = True
    all_splits = True
    metrics_type = ClassificationMetrics

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        shape = (run.num_regions, run.num_classes)
        return (ProtocolArray(ArraySpec("overlap", shape, "int64", ("region", "class"))),)

    def measure(self, photograph: Photograph) -> Rows:
        if photograph.mask is None:
            return {}
        run = photograph.run
        overlap = region_overlap(photograph.labels, photograph.mask, run.num_regions, run.num_classes)
        return {"overlap": overlap}

    def tally(
        self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn
    ) -> Tally[ClassificationMetrics]:
        return ConfusionTally[None, ClassificationMetrics](
            lambda block: {None: upper_bound(block.overlap)},
            lambda totals: classification_metrics(totals[None]),
        )

    def headline(self, metrics: ClassificationMetrics) -> list[Headline]:
        return [
            Headline(
                "upper bound mIoU",
                shown_metric(metrics.miou),
                "every region given its majority class",
                "The best that any naming of these regions can reach. What is missing to 1 is lost at the "
                "borders of the regions.",
            ),
            Headline(
                "upper bound pixel accuracy",
                shown_metric(metrics.accuracy),
                "likewise",
                "Share of the pixels that lie in a region whose majority is of their own class.",
            ),
        ]

    def columns(self) -> tuple[Column[ClassificationMetrics], ...]:
        return (
            Column("upper_bound_miou", "upper bound mIoU", lambda found: found.miou, curve=True),
            Column("upper_bound_accuracy", "upper bound accuracy", lambda found: found.accuracy),
        )

    def classifications(self, metrics: ClassificationMetrics) -> list[Classification]:
        return [Classification("upper bound", metrics)]
