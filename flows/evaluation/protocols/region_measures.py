"""Regions against the true regions: average best overlap, covering, boundaries, rims, and their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dcn.evaluation.best_overlap import average_best_overlap, class_best_overlaps
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
)
from flows.evaluation.stored_measures import (
    Floats,
    StoredTally,
    correlation_over_runs,
    measured_by_all,
    read_runs,
    region_counts_plot,
)
from flows.stage import Warn
from storage import ArraySpec

_OVERLAPS, _MEASURES = "best_overlap", "region_measures"
# The fields of dcn.evaluation.region_measures.RegionMeasures in the order of the array.
_NAMES = (
    "covering",
    "boundary_precision",
    "boundary_recall",
    "boundary_f",
    "rims",
    "regions",
    "true_regions",
)


class RegionMeasureMetrics(Options):
    """Means over the labelled photographs. JSON.

    :class:`dcn.evaluation.region_measures.RegionMeasures` defines the measures of one photograph. An interval
    is the confidence interval of 95 % over photographs; None for a single photograph.

    Attributes:
        abo: average best overlap: mean of ``class_abo`` over the object classes that occur, background left
            out; None if none occurs.
        abo_interval: its interval.
        class_abo: ``[C]`` best overlap of each class, averaged over the photographs that have the class; None
            for a class that does not occur.
        covering: segmentation covering.
        covering_interval: its interval.
        boundary_f: F of the boundaries.
        boundary_f_interval: its interval.
        boundary_precision: precision of the boundaries.
        boundary_recall: recall of the boundaries.
        rims: share of a photograph that is in rims.
        true_regions_per_image: number of classes of a photograph, background included.
        region_correlation: Spearman's rho of the number of regions and the number of classes; None if one of
            both is the same in all photographs.
        region_correlation_interval: its interval.

    """

    abo: float | None
    abo_interval: Interval | None
    class_abo: list[float | None]
    covering: float
    covering_interval: Interval | None
    boundary_f: float
    boundary_f_interval: Interval | None
    boundary_precision: float
    boundary_recall: float
    rims: float
    true_regions_per_image: float
    region_correlation: float | None
    region_correlation_interval: Interval | None


class RegionMeasures(Protocol[RegionMeasureMetrics]):
    """Arrays ``best_overlap [N, C]`` and ``region_measures [N, 7]``, NaN where not measured."""

    name = "region_measures"
    group = Group.TRUE_REGIONS
    needs_labels = True
    metrics_type = RegionMeasureMetrics

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        return (
            ProtocolArray(ArraySpec(_OVERLAPS, (run.num_classes,), "float32", ("class",)), np.nan),
            ProtocolArray(ArraySpec(_MEASURES, (len(_NAMES),), "float32", ("measure",)), np.nan),
        )

    def measure(self, photograph: Photograph) -> Rows:
        from dcn.evaluation.region_measures import measure_regions

        if photograph.mask is None:
            return {}
        run, side = photograph.run, round(len(photograph.tokens) ** 0.5)
        found = measure_regions(photograph.labels, photograph.mask, run.num_regions, run.num_classes, side)
        if found is None:
            return {}
        return {
            _OVERLAPS: found.best_overlap,
            _MEASURES: np.array([getattr(found, name) for name in _NAMES]),
        }

    def tally(
        self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn
    ) -> Tally[RegionMeasureMetrics]:
        return StoredTally(lambda: _metrics(*_read([run], rows)))

    def over_seeds(self, runs: Sequence[EvaluatedRun]) -> RegionMeasureMetrics:
        return _metrics(*_read(runs, runs[0].evaluated_rows()))

    def headline(self, metrics: RegionMeasureMetrics) -> list[Headline]:
        interval = "95 % interval over photographs"
        return [
            Headline(
                "average best overlap",
                shown_estimate(metrics.abo, metrics.abo_interval),
                f"IoU of a class with its best region, mean over object classes; {interval}",
                "How well one single region covers an object: 1 if every object is exactly a region.",
            ),
            Headline(
                "covering",
                shown_estimate(metrics.covering, metrics.covering_interval),
                f"of the true regions, 1 is best; {interval}",
                "How well each area that people drew is covered by the region that fits best; large areas "
                "count more.",
            ),
        ]

    def columns(self) -> tuple[Column[RegionMeasureMetrics], ...]:
        return (
            Column(
                "abo",
                "average best overlap",
                lambda found: found.abo,
                interval=lambda found: found.abo_interval,
                curve=True,
            ),
            Column(
                "class_covering",
                "covering",
                lambda found: found.covering,
                interval=lambda found: found.covering_interval,
                curve=True,
            ),
            Column(
                "class_boundary_f",
                "boundary F",
                lambda found: found.boundary_f,
                interval=lambda found: found.boundary_f_interval,
            ),
            Column("rims", "rims", lambda found: found.rims),
            Column(
                "class_region_correlation",
                "rho of regions",
                lambda found: found.region_correlation,
                interval=lambda found: found.region_correlation_interval,
                digits=2,
            ),
        )

    def plots(self, run: EvaluatedRun, metrics: RegionMeasureMetrics) -> list[Plot]:
        measures = dict(zip(_NAMES, run.read_all(_MEASURES).T, strict=True))
        plot = region_counts_plot(
            measures["regions"],
            measures["true_regions"],
            (metrics.region_correlation, metrics.region_correlation_interval),
            "regions against classes",
            "Regions of a photograph against its classes, background included.",
        )
        return [plot]


def _read(runs: Sequence[EvaluatedRun], rows: npt.NDArray[np.int64]) -> tuple[Floats, dict[str, Floats]]:
    """Read the best overlaps ``[s, n, C]`` and each measure ``[s, n]`` of what all runs measured."""
    overlaps, measures = (read_runs(runs, array, rows) for array in (_OVERLAPS, _MEASURES))
    measured = measured_by_all(measures)
    return overlaps[:, measured], dict(zip(_NAMES, np.moveaxis(measures[:, measured], 2, 0), strict=True))


def _metrics(overlaps: Floats, measures: Mapping[str, Floats]) -> RegionMeasureMetrics:
    """Average over runs and photographs: best overlaps ``[s, n, C]``, each measure ``[s, n]`` by its name."""

    def abo(rows: npt.NDArray[np.int64]) -> float:
        return float(np.mean([average_best_overlap(run[rows]) for run in overlaps]))

    rho = correlation_over_runs(measures["regions"], measures["true_regions"])
    photographs = overlaps.shape[1]
    every = np.arange(photographs)
    means = {name: float(values.mean()) for name, values in measures.items()}
    return RegionMeasureMetrics(
        abo=defined(abo(every)),
        abo_interval=bootstrap_interval(abo, photographs),
        class_abo=[defined(value) for value in class_best_overlaps(overlaps.mean(axis=0))],
        covering=means["covering"],
        covering_interval=mean_interval(measures["covering"].mean(axis=0)),
        boundary_f=means["boundary_f"],
        boundary_f_interval=mean_interval(measures["boundary_f"].mean(axis=0)),
        boundary_precision=means["boundary_precision"],
        boundary_recall=means["boundary_recall"],
        rims=means["rims"],
        true_regions_per_image=means["true_regions"],
        region_correlation=defined(rho(every)),
        region_correlation_interval=bootstrap_interval(rho, photographs),
    )
