"""Metrics that follow from arrays of the checkpoint alone, of one run or of several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dcn.evaluation.bootstrap import Interval
from dcn.evaluation.rank_correlation import rank_correlation
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.protocol import Metrics, Plot, Tally, shown_estimate

Floats = npt.NDArray[np.float64]


class StoredTally(Tally[Metrics]):
    """A total that needs no pass over the regions.

    Args:
        compute: computes the metrics from the arrays of the checkpoint.

    """

    def __init__(self, compute: Callable[[], Metrics]) -> None:
        self._compute = compute

    def metrics(self) -> Metrics:
        return self._compute()


def read_runs(runs: Sequence[EvaluatedRun], array: str, rows: npt.NDArray[np.int64]) -> Floats:
    """Read some rows of an array of each run, ``[s, n, ...]``."""
    return np.stack([run.read_all(array)[rows] for run in runs]).astype(np.float64)


def measured_by_all(measures: Floats) -> npt.NDArray[np.bool_]:
    """Find the photographs, ``[n]``, whose measures ``[s, n, m]`` are NaN in no run."""
    return np.asarray(~np.isnan(measures).any(axis=(0, 2)))


def correlation_over_runs(found: Floats, true: Floats) -> Callable[[npt.NDArray[np.int64]], float]:
    """Make the statistic for a bootstrap: the rank correlation of two numbers, mean over the runs.

    Args:
        found: ``[s, n]`` number of regions of each photograph.
        true: ``[s, n]`` number of true regions.

    """

    def rho(rows: npt.NDArray[np.int64]) -> float:
        return float(np.mean([rank_correlation(a[rows], b[rows]) for a, b in zip(found, true, strict=True)]))

    return rho


def region_counts_plot(
    found: npt.NDArray[np.float32],
    true: npt.NDArray[np.float32],
    correlation: tuple[float | None, Interval | None],
    title: str,
    caption: str,
) -> Plot:
    """Plot numbers of regions ``[N]`` against the true ones; the caption has their rank correlation."""
    from dcn.figures.region_counts import region_counts_figure

    rho = shown_estimate(*correlation, 2)
    return Plot(region_counts_figure(found, true), title, f"{caption} Spearman's rho: {rho}.")
