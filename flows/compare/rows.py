"""The table of a comparison: one row for each variant, with the columns of all protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dcn.evaluation.bootstrap import Interval
from flows.compare.variants import Variant
from flows.evaluation import protocols
from flows.evaluation.protocol import Column, Protocol, shown_estimate
from flows.evaluation.results import Results, read_results
from flows.execution.plan import find_job
from flows.inputs.summaries import SegmentSummary
from flows.settings import Settings, TrainSettings


@dataclass(frozen=True)
class Cell:
    """A value of one variant in one column.

    Attributes:
        value: a number, or a published text; None if it is not defined.
        deviation: standard deviation of the number, if the column has one.
        interval: confidence interval of 95 % of the number, if the column has one.

    """

    value: float | str | None
    deviation: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True)
class MeasuredVariant:
    """Everything that a column may read of a variant whose ``evaluate`` is complete."""

    settings: Settings
    results: Results
    segment: SegmentSummary


@dataclass(frozen=True)
class TableColumn:
    """A column of the table.

    Attributes:
        name: key in ``comparison.json``.
        title: head of the column.
        cell: reads the value of a variant.
        digits: decimal places.
        has_deviation: ``comparison.json`` has the standard deviation as well.
        has_interval: likewise the confidence interval.
        curve: the page draws the value against the number of regions.

    """

    name: str
    title: str
    cell: Callable[[MeasuredVariant], Cell]
    digits: int = 3
    has_deviation: bool = False
    has_interval: bool = False
    curve: bool = False


@dataclass(frozen=True)
class ComparisonRow:
    """All values of one variant, or their means over several seeds.

    Attributes:
        name: name of the variant.
        group: variants of one group are the points of one curve.
        cells: value by the name of its column, in the order of the columns.
        chosen: the row has the best label-free score of a sweep, see :mod:`flows.compare.choice`.
        seeds: number of seeds of the training over which the values are means.

    """

    name: str
    group: str
    cells: dict[str, Cell]
    chosen: bool = False
    seeds: int = 1

    @property
    def regions_per_image(self) -> float:
        """Mean number of regions, against which the page draws the curves."""
        regions = self.cells["regions_per_image"].value
        assert isinstance(regions, float)
        return regions

    def to_json(self) -> dict[str, Any]:
        """Convert to an entry of ``comparison.json``: one flat dictionary of values."""
        values: dict[str, Any] = {
            "name": self.name,
            "group": self.group,
            "chosen": self.chosen,
            "seeds": self.seeds,
        }
        for column in table_columns():
            values[column.name] = self.cells[column.name].value
            deviation = self.cells[column.name].deviation
            if column.has_deviation or deviation is not None:
                values[f"{column.name}_deviation"] = deviation
            if column.has_interval:
                interval = self.cells[column.name].interval
                values[f"{column.name}_interval"] = None if interval is None else interval.model_dump()
        return values


def table_columns() -> list[TableColumn]:
    """Columns of the protocols by their group, each metric beside its published value, and the cost."""
    columns = []
    for protocol in sorted(protocols.PROTOCOLS, key=lambda protocol: protocol.group):
        for column in protocol.columns():
            columns.append(_protocol_column(protocol, column))
            columns.extend(_PUBLISHED.get(column.name, ()))
    return [*columns, _SECONDS]


def comparison_row(variant: Variant) -> ComparisonRow:
    """Read the values of a variant whose ``evaluate`` is complete."""
    job = find_job(variant.settings, listing=variant.listing)
    measured = MeasuredVariant(variant.settings, read_results(job), SegmentSummary.read(job))
    cells = {column.name: column.cell(measured) for column in table_columns()}
    return ComparisonRow(variant.name, variant.group, cells)


def comparison_table(rows: Sequence[ComparisonRow]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the table, as text. A column in which no value is defined is left out.

    An arrow marks the row that a sweep chooses.
    """
    shown = [c for c in table_columns() if any(row.cells[c.name].value is not None for row in rows)]
    texts = [
        [_shown_name(row), *(_text(row.cells[column.name], column.digits) for column in shown)]
        for row in rows
    ]
    return ["", *(column.title for column in shown)], texts


def _protocol_column(protocol: Protocol[Any], column: Column[Any]) -> TableColumn:
    def cell(variant: MeasuredVariant) -> Cell:
        metrics = variant.results.find(type(protocol))
        if metrics is None:
            return Cell(None)
        return Cell(
            column.value(metrics),
            None if column.deviation is None else column.deviation(metrics),
            None if column.interval is None else column.interval(metrics),
        )

    return TableColumn(
        column.name,
        column.title,
        cell,
        column.digits,
        has_deviation=column.deviation is not None,
        has_interval=column.interval is not None,
        curve=column.curve,
    )


def _published_miou(variant: MeasuredVariant) -> Cell:
    """Published mIoU, if the variant has the data set and the number of regions of the paper."""
    settings = variant.settings
    comparable = settings.dataset.name == "voc2012"
    comparable = comparable and settings.num_regions == TrainSettings().num_prototypes
    return Cell(settings.segment.segmenter.published_miou if comparable else None)


# Columns of published values (table 1 of the paper), by the column that they stand beside.
_PUBLISHED = {
    "kmeans_miou": (TableColumn("published_miou", "published, VOC 2012 with DINO", _published_miou),)
}
_SECONDS = TableColumn(
    "seconds_per_image",
    "seconds per image",
    lambda variant: Cell(variant.segment.segmentation_seconds_per_image),
    digits=4,
)


def _shown_name(row: ComparisonRow) -> str:
    return f"→ {row.name}" if row.chosen else row.name


def _text(cell: Cell, digits: int) -> str:
    if cell.value is None or isinstance(cell.value, str):
        return cell.value or "-"
    text = shown_estimate(cell.value, cell.interval, digits)
    return text if cell.deviation is None else f"{text} ± {cell.deviation:.3f}"
