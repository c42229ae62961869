"""Weighted k-NN retrieval of region embeddings (section 4.4, table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, RootModel

from dcn.evaluation.metrics import ClassificationMetrics, classification_metrics
from dcn.evaluation.protocols import knn_confusions
from flows.evaluation.confusions import ConfusionTally, Matrix
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.knn_bank import HEADLINE_NEIGHBORS, headline_neighbors, read_bank
from flows.evaluation.protocol import Classification, Column, Group, Headline, Protocol, Tally, shown_metric
from flows.evaluation.region_table import region_blocks
from flows.stage import Warn


class KNNMetrics(RootModel[dict[int, ClassificationMetrics]]):
    """Metrics for each number of neighbors; empty if the training split is not labelled. JSON."""

    model_config = ConfigDict(frozen=True)

    def miou(self, k: int) -> float | None:
        """Mean IoU with ``k`` neighbors; None if ``evaluate.neighbors`` does not have that number."""
        return self.root[k].miou if k in self.root else None


class KNN(Protocol[KNNMetrics]):
    """The bank has the labelled regions of ``evaluate.sampled_images`` photographs of the training split."""

    name = "knn"
    group = Group.CLASSES
    needs_labels = True
    metrics_type = KNNMetrics

    def applies(self, run: EvaluatedRun) -> bool:
        wanted = bool(run.settings.evaluate.neighbors) and not run.settings.regions_are_classes
        return super().applies(run) and wanted

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[KNNMetrics]:
        bank, unembedded = read_bank(run, region_blocks)
        neighbors = run.settings.evaluate.neighbors
        return ConfusionTally[int, KNNMetrics](
            lambda block: {} if bank is None else knn_confusions(bank, block, neighbors),
            partial(_metrics, run, unembedded, warn),
        )

    def headline(self, metrics: KNNMetrics) -> list[Headline]:
        if not metrics.root:
            return []
        k = headline_neighbors(metrics.root)
        explanation = (
            "How well the looks of a region tell its class: it gets the class of the regions in other "
            "photographs that are most like it. 1 is perfect."
        )
        return [Headline("k-NN mIoU", shown_metric(metrics.miou(k)), f"at k = {k}", explanation)]

    def columns(self) -> tuple[Column[KNNMetrics], ...]:
        title = f"k-NN mIoU, k = {HEADLINE_NEIGHBORS}"
        return (Column("knn_miou", title, lambda found: found.miou(HEADLINE_NEIGHBORS), curve=True),)

    def classifications(self, metrics: KNNMetrics) -> list[Classification]:
        return [Classification(f"k-NN, k = {k}", reached) for k, reached in metrics.root.items()]


def _metrics(run: EvaluatedRun, unembedded: int, warn: Warn, totals: Mapping[int, Matrix]) -> KNNMetrics:
    summary = run.index.summary
    if not totals:
        warn(f"k-NN has no metrics: no photograph of the split {summary.train_split} has ground truth")
    elif unembedded and summary.train_split != summary.evaluate_split:  # else the stage has said so
        warn(
            f"{unembedded} regions of the split {summary.train_split} have no embedding, so the bank of k-NN "
            f"lacks them"
        )
    return KNNMetrics({k: classification_metrics(matrix) for k, matrix in totals.items()})
