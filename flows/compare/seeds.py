"""Rows of the table that have the means of several variants, which differ in the seed of their training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from dcn.evaluation.protocols import mean_and_deviation
from flows.compare.rows import Cell, ComparisonRow, MeasuredVariant, comparison_row, table_columns
from flows.compare.variants import Variant
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.inputs.summaries import SegmentSummary


def table_rows(variants: Sequence[Variant]) -> list[ComparisonRow]:
    """Make the rows of the table: one for each variant, or for all variants that share a row."""
    rows = []
    for _, found in groupby(variants, key=lambda variant: variant.row or variant.name):
        together = list(found)
        rows.append(comparison_row(together[0]) if len(together) == 1 else _row_over_seeds(together))
    return rows


def _row_over_seeds(variants: Sequence[Variant]) -> ComparisonRow:
    """Means and standard deviations over the seeds, and intervals of the means over photographs.

    The deviation is over the seeds of the training, even where one variant has one over seeds of k-means.
    """
    rows = [comparison_row(variant) for variant in variants]
    jobs = [find_job(variant.settings, listing=variant.listing) for variant in variants]
    results, runs = read_results(jobs[0]), [EvaluatedRun.open(job) for job in jobs]
    over_seeds = {protocol.name: protocol.over_seeds(runs) for protocol, _ in results.measured()}
    sections = {name: metrics for name, metrics in over_seeds.items() if metrics is not None}
    means = MeasuredVariant(
        variants[0].settings, replace(results, sections=sections), SegmentSummary.read(jobs[0])
    )
    cells = {}
    for column in table_columns():
        values = [row.cells[column.name].value for row in rows]
        numbers = [value for value in values if isinstance(value, float | int)]
        if len(numbers) == len(values):
            mean, deviation = mean_and_deviation(numbers)
            interval = column.cell(means).interval if column.has_interval else None
            cells[column.name] = Cell(mean, deviation, interval)
        else:  # a published text is the same for all seeds; a metric that a seed lacks has no mean
            cells[column.name] = Cell(values[0] if isinstance(values[0], str) else None)
    return ComparisonRow(variants[0].row, variants[0].group, cells, seeds=len(variants))
