"""Foreground regions against all classes but the background, by every reading of section 4.1.2."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, RootModel

from dcn.evaluation.protocols import ForegroundMetrics, Regions, foreground_confusion, foreground_metrics
from dcn.foreground import foreground_regions, reduce_heads, region_scores
from dcn.regions import region_areas
from dcn.weights.presets import AttentionReduction, ForegroundSplit, RegionScore
from flows.evaluation.confusions import ConfusionTally, Matrix
from flows.evaluation.inputs import EvaluatedRun, Photograph
from flows.evaluation.protocol import (
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
from flows.stage import Warn
from storage import ArraySpec

# The paper does not say how the attention of the heads and of the pixels is reduced to one score of a region,
# so the evaluation measures every combination. An average of sums over pixels would have no meaning.
_REDUCTIONS: tuple[AttentionReduction, ...] = ("max", "mean", "min")
_CHOICES: tuple[tuple[RegionScore, ForegroundSplit], ...] = (
    ("sum", "two-means"),
    ("mean", "two-means"),
    ("mean", "average"),
)
_VARIANTS = tuple((reduction, *choice) for reduction in _REDUCTIONS for choice in _CHOICES)
_ARRAY = "foreground_variants"


class Foreground(Protocol[ForegroundMetrics]):
    """The foreground regions that ``segment`` chose."""

    name = "foreground"
    group = Group.GROUND_TRUTH
    needs_labels = True
    metrics_type = ForegroundMetrics

    def applies(self, run: EvaluatedRun) -> bool:
        return super().applies(run) and run.settings.finds_foreground

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[ForegroundMetrics]:
        return ConfusionTally[None, ForegroundMetrics](
            lambda block: {None: foreground_confusion(block.overlap, block.foreground)},
            lambda totals: foreground_metrics(totals[None]),
        )

    def headline(self, metrics: ForegroundMetrics) -> list[Headline]:
        meaning = meaning_of(metrics.iou, "foreground regions against all classes but background")
        explanation = (
            "How well the regions that stand out cover the objects that people drew: the shared area, "
            "divided by the area that either has. 1 is perfect."
        )
        return [Headline("foreground IoU", shown_metric(metrics.iou), meaning, explanation)]

    def columns(self) -> tuple[Column[ForegroundMetrics], ...]:
        return (Column("foreground_iou", "foreground IoU", lambda found: found.iou, curve=True),)


class VariantMetrics(RootModel[dict[str, ForegroundMetrics]]):
    """Metrics of each variant, by its name in words. JSON."""

    model_config = ConfigDict(frozen=True)


class ForegroundVariants(Protocol[VariantMetrics]):
    """Array ``foreground_variants [N, 9, k]``: the foreground regions by each variant."""

    name = "foreground_variants"
    version = 2
    group = Group.GROUND_TRUTH
    needs_labels = True
    metrics_type = VariantMetrics

    def applies(self, run: EvaluatedRun) -> bool:
        return super().applies(run) and run.settings.finds_foreground

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        shape = (len(_VARIANTS), run.num_regions)
        return (ProtocolArray(ArraySpec(_ARRAY, shape, "bool", ("variant", "region"))),)

    def measure(self, photograph: Photograph) -> Rows:
        import torch

        if photograph.mask is None:
            return {}
        labels, num_regions = photograph.labels, photograph.run.num_regions
        areas = region_areas(labels, num_regions)
        heads = torch.from_numpy(photograph.attention).float()  # [h, n]
        found = []
        for reduction, score, split in _VARIANTS:
            scores = region_scores(reduce_heads(heads, reduction), labels, num_regions, score)
            found.append(foreground_regions(scores, areas, split))
        return {_ARRAY: np.stack(found)}

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[VariantMetrics]:
        return ConfusionTally[int, VariantMetrics](partial(_variant_confusions, run), _variant_metrics)


def _variant_confusions(run: EvaluatedRun, block: Regions) -> dict[int, Matrix]:
    rows, place = np.unique(block.image, return_inverse=True)
    variants = run.read(_ARRAY, rows)  # [b, v, k]
    return {
        variant: foreground_confusion(block.overlap, variants[place, variant, block.index])
        for variant in range(len(_VARIANTS))
    }


def _variant_metrics(totals: Mapping[int, Matrix]) -> VariantMetrics:
    return VariantMetrics(
        {
            f"{reduction} over heads, {score} over pixels, {split}": foreground_metrics(totals[variant])
            for variant, (reduction, score, split) in enumerate(_VARIANTS)
        }
    )
