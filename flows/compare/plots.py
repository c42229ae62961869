"""Plots of a comparison: metrics against the number of regions, and the steps of a ladder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t

from flows.compare.rows import ComparisonRow, table_columns
from flows.report.page import plot_uri

# Metrics of the steps of a ladder: of the clusters, of the head in a step that distills them, and of the
# clusters of true regions, which no found regions are expected to exceed.
_STEPS = (
    ("kmeans_miou", "distilled_miou", "true_regions_miou", "mIoU of the classes"),
    ("kmeans_accuracy", "distilled_accuracy", "true_regions_accuracy", "pixel accuracy of the classes"),
)
_REACHED, _CEILING = "#4c78a8", "#e45756"


def curves_uri(rows: Sequence[ComparisonRow]) -> str | None:
    """Plot metrics against the number of regions; None if no group has two points.

    More regions make any upper bound better and any classification harder, so methods compare at equal
    numbers of regions only.
    """
    groups = dict.fromkeys(row.group for row in rows)
    defined = [
        column
        for column in table_columns()
        if column.curve and any(row.cells[column.name].value is not None for row in rows)
    ]
    if not defined or len(rows) == len(groups):
        return None
    figure = Figure(figsize=(9, 3.2 * -(-len(defined) // 2)), layout="constrained")
    cells = figure.subplots(-(-len(defined) // 2), 2, squeeze=False).ravel()
    for axes, column in zip(cells, defined, strict=False):
        for group in groups:
            points = sorted(
                (row.regions_per_image, row.cells[column.name].value, row.cells[column.name].deviation or 0.0)
                for row in rows
                if row.group == group and row.cells[column.name].value is not None
            )
            if points:
                x, y, deviation = zip(*points, strict=True)
                axes.errorbar(x, y, yerr=deviation, marker="o", markersize=4, capsize=2, label=group)
        axes.set(title=column.title, xlabel="regions per image")
        axes.spines[["top", "right"]].set_visible(False)
    cells[0].legend(frameon=False)
    for axes in cells[len(defined) :]:
        axes.set_axis_off()
    return plot_uri(figure)


def ladder_uri(rows: Sequence[ComparisonRow]) -> str | None:
    """Plot the steps of a ladder with the ceiling of true regions beside each; None without ground truth.

    The bar of a step with a head shows the classes of the head, that of another step those of its clusters.
    """
    defined = [metrics for metrics in _STEPS if all(row.cells[metrics[0]].value is not None for row in rows)]
    if not defined:
        return None
    figure = Figure(figsize=(9, 3.4 * len(defined)), layout="constrained")
    places = figure.subplots(len(defined), 1, squeeze=False).ravel()
    for axes, (clusters, head, ceiling, title) in zip(places, defined, strict=True):
        _steps(axes, rows, [clusters if row.cells[head].value is None else head for row in rows], ceiling)
        axes.set(title=title)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = places[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper right", frameon=False)
    return plot_uri(figure)


def _steps(axes: Axes, rows: Sequence[ComparisonRow], metrics: Sequence[str], ceiling: str) -> None:
    places = range(len(rows))
    values = [float(row.cells[metric].value or 0) for row, metric in zip(rows, metrics, strict=True)]
    errors = [half_interval(row, metric) for row, metric in zip(rows, metrics, strict=True)]
    axes.bar(places, values, yerr=errors, capsize=4, width=0.6, color=_REACHED)
    for place, row in zip(places, rows, strict=True):
        reached = row.cells[ceiling].value
        if reached is not None:
            label = "true regions" if place == 0 else ""  # once in the legend
            axes.hlines(
                float(reached), place - 0.4, place + 0.4, colors=_CEILING, linestyles="--", label=label
            )
    axes.set_xticks(places, [row.name.partition(",")[0].replace(" ", "\n") for row in rows])


def half_interval(row: ComparisonRow, metric: str) -> float:
    """Half of the confidence interval of 95 % of a mean over seeds (Student's t); 0 for one seed.

    Example:
        >>> cells = {"kmeans_miou": Cell(0.2, deviation=0.01)}  # over the seeds themselves, so divided by 5
        >>> round(half_interval(ComparisonRow("paper", "ladder", cells, seeds=5), "kmeans_miou"), 4)
        0.0139

    """
    deviation = row.cells[metric].deviation
    if row.seeds < 2 or deviation is None:
        return 0.0
    return float(t.ppf(0.975, row.seeds - 1) * deviation / np.sqrt(row.seeds - 1))
