"""Agreement of the regions with the segmentations of several annotators: the region benchmarks of BSDS500."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcn.evaluation.annotators import compare_with_annotators
from dcn.options import Options
from flows.evaluation.inputs import EvaluatedRun, Photograph
from flows.evaluation.means import column_means
from flows.evaluation.protocol import (
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

_ARRAY = "segmentation"


class AnnotatorMetrics(Options):
    """Means over the photographs with ground truth; None if there is none. JSON.

    :class:`dcn.evaluation.annotators.AnnotatorAgreement` defines each metric.
    """

    covering: float | None
    rand_index: float | None
    variation_of_information: float | None


class Annotators(Protocol[AnnotatorMetrics]):
    """Array ``segmentation [N, 3]``: covering, Rand index, variation of information; NaN if not measured."""

    name = "annotators"
    group = Group.REGIONS
    metrics_type = AnnotatorMetrics

    def applies(self, run: EvaluatedRun) -> bool:
        return run.dataset.has_segmentations

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        return (ProtocolArray(ArraySpec(_ARRAY, (3,), "float32", ("covering_rand_variation",)), np.nan),)

    def measure(self, photograph: Photograph) -> Rows:
        if not photograph.segmentations:
            return {}
        found = compare_with_annotators(photograph.labels, photograph.segmentations)
        return {_ARRAY: np.array([found.covering, found.rand_index, found.variation_of_information])}

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[AnnotatorMetrics]:
        return _AnnotatorTally(run, rows)

    def headline(self, metrics: AnnotatorMetrics) -> list[Headline]:
        return [
            Headline("covering", shown_metric(metrics.covering), "of the annotators' regions; 1 is best"),
            Headline("probabilistic Rand index", shown_metric(metrics.rand_index), "1 is best"),
            Headline(
                "variation of information",
                shown_metric(metrics.variation_of_information),
                "in bits; 0 is best",
            ),
        ]

    def columns(self) -> tuple[Column[AnnotatorMetrics], ...]:
        return (
            Column("covering", "covering", lambda found: found.covering),
            Column("rand_index", "Rand index", lambda found: found.rand_index),
            Column(
                "variation_of_information",
                "variation of information",
                lambda found: found.variation_of_information,
            ),
        )


class _AnnotatorTally(Tally[AnnotatorMetrics]):
    def __init__(self, run: EvaluatedRun, rows: npt.NDArray[np.int64]) -> None:
        self._run = run
        self._rows = rows

    def metrics(self) -> AnnotatorMetrics:
        covering, rand_index, variation = column_means(self._run.read_all(_ARRAY)[self._rows])
        return AnnotatorMetrics(covering=covering, rand_index=rand_index, variation_of_information=variation)
