"""Agreement of the regions with the segmentations of several annotators: the region benchmarks of BSDS500."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dcn.evaluation.bootstrap import Interval, bootstrap_interval, mean_interval
from dcn.evaluation.metrics import defined
from dcn.options import Options
from flows.evaluation.inputs import EvaluatedRun, Photograph
from flows.evaluation.protocol import (
    Column,
    Group,
    Headline,
    Plot,
    Protocol,
    ProtocolArray,
    Rows,
    Tally,
    shown_estimate,
    shown_metric,
)
from flows.evaluation.stored_measures import (
    StoredTally,
    correlation_over_runs,
    measured_by_all,
    read_runs,
    region_counts_plot,
)
from flows.stage import Warn
from storage import ArraySpec

_ARRAY = "segmentation"
_REGIONS, _ANNOTATED_REGIONS = 4, 5  # columns of the array


class AnnotatorMetrics(Options):
    """Means over the photographs with ground truth; None if there is none. JSON.

    :class:`dcn.evaluation.annotators.AnnotatorAgreement` defines each metric. An interval is the confidence
    interval of 95 % over photographs; None for fewer than two of them.

    Attributes:
        region_correlation: Spearman's rho of the number of regions and the annotators' mean number; None if
            one of both is the same in all photographs.

    """

    covering: float | None
    covering_interval: Interval | None
    rand_index: float | None
    variation_of_information: float | None
    boundary_f: float | None
    boundary_f_interval: Interval | None
    annotated_regions_per_image: float | None
    region_correlation: float | None
    region_correlation_interval: Interval | None


class Annotators(Protocol[AnnotatorMetrics]):
    """Array ``segmentation [N, 6]``, NaN if not measured.

    Its columns are covering, Rand index, variation of information, boundary F, the number of regions, and the
    annotators' mean number of regions.
    """

    name = "annotators"
    version = 2
    group = Group.TRUE_REGIONS
    metrics_type = AnnotatorMetrics

    def applies(self, run: EvaluatedRun) -> bool:
        return run.dataset.has_segmentations

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        return (ProtocolArray(ArraySpec(_ARRAY, (6,), "float32", ("measure",)), np.nan),)

    def measure(self, photograph: Photograph) -> Rows:
        from dcn.evaluation.annotators import compare_with_annotators

        if not photograph.segmentations:
            return {}
        found = compare_with_annotators(photograph.labels, photograph.segmentations)
        measures = [
            found.covering,
            found.rand_index,
            found.variation_of_information,
            found.boundary_f,
            len(np.unique(photograph.labels)),
            found.annotated_regions,
        ]
        return {_ARRAY: np.array(measures)}

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[AnnotatorMetrics]:
        return StoredTally(lambda: _metrics([run], rows))

    def over_seeds(self, runs: Sequence[EvaluatedRun]) -> AnnotatorMetrics:
        return _metrics(runs, runs[0].evaluated_rows())

    def headline(self, metrics: AnnotatorMetrics) -> list[Headline]:
        return [
            Headline(
                "covering",
                shown_estimate(metrics.covering, metrics.covering_interval),
                "of the annotators' regions, 1 is best; 95 % interval over photographs",
                "How well each region that a person drew is covered by the one region that fits best.",
            ),
            Headline(
                "probabilistic Rand index",
                shown_metric(metrics.rand_index),
                "1 is best",
                "Share of pairs of pixels on which regions and people agree: both in one region, or not.",
            ),
            Headline(
                "variation of information",
                shown_metric(metrics.variation_of_information),
                "in bits; 0 is best",
                "How much one has to be told to turn the regions into those that people drew.",
            ),
        ]

    def columns(self) -> tuple[Column[AnnotatorMetrics], ...]:
        return (
            Column(
                "covering",
                "covering",
                lambda found: found.covering,
                interval=lambda found: found.covering_interval,
            ),
            Column("rand_index", "Rand index", lambda found: found.rand_index),
            Column(
                "variation_of_information",
                "variation of information",
                lambda found: found.variation_of_information,
            ),
            Column(
                "boundary_f",
                "boundary F",
                lambda found: found.boundary_f,
                interval=lambda found: found.boundary_f_interval,
            ),
            Column(
                "region_correlation",
                "rho of regions",
                lambda found: found.region_correlation,
                interval=lambda found: found.region_correlation_interval,
                digits=2,
            ),
        )

    def plots(self, run: EvaluatedRun, metrics: AnnotatorMetrics) -> list[Plot]:
        if metrics.covering is None:
            return []
        measures = run.read_all(_ARRAY)
        plot = region_counts_plot(
            measures[:, _REGIONS],
            measures[:, _ANNOTATED_REGIONS],
            (metrics.region_correlation, metrics.region_correlation_interval),
            "regions against annotated regions",
            "Regions of a photograph against the mean number of its annotators.",
        )
        return [plot]


def _metrics(runs: Sequence[EvaluatedRun], rows: npt.NDArray[np.int64]) -> AnnotatorMetrics:
    """Average over runs, and over the photographs that all of them measured."""
    measures = read_runs(runs, _ARRAY, rows)
    measures = measures[:, measured_by_all(measures)]  # [s, n, 6]
    photographs = measures.shape[1]
    covering, rand_index, variation, boundary_f, _, annotated = measures.mean(axis=0).T  # [n] each

    rho = correlation_over_runs(measures[..., _REGIONS], measures[..., _ANNOTATED_REGIONS])

    return AnnotatorMetrics(
        covering=_mean(covering),
        covering_interval=mean_interval(covering),
        rand_index=_mean(rand_index),
        variation_of_information=_mean(variation),
        boundary_f=_mean(boundary_f),
        boundary_f_interval=mean_interval(boundary_f),
        annotated_regions_per_image=_mean(annotated),
        region_correlation=defined(rho(np.arange(photographs))),
        region_correlation_interval=bootstrap_interval(rho, photographs),
    )


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
