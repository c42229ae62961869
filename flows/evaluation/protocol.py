"""Interface of a protocol of the evaluation: what it stores, measures, adds up and shows.

A new protocol is one module in :mod:`flows.evaluation.protocols` with a subclass of :class:`Protocol`, and
one line in the table :data:`flows.evaluation.protocols.PROTOCOLS`. The stage, ``results.json``, the page, the
tables of comparisons and the artifacts follow from the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from dcn.evaluation.bootstrap import Interval
from dcn.evaluation.metrics import ClassificationMetrics
from dcn.evaluation.protocols import Regions
from flows.evaluation.inputs import EvaluatedRun, Photograph, Shard
from flows.settings import Settings
from flows.stage import Warn
from storage import ArraySpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Metrics = TypeVar("Metrics", bound=BaseModel)
Rows = dict[str, npt.NDArray[Any]]


class Group(IntEnum):
    """What a protocol measures. Pages show groups in this order; inside a group the table's order holds."""

    TRUE_REGIONS = 1  # regions against the regions of the ground truth
    CLASSES = 2  # classes that were found without the ground truth
    GROUND_TRUTH = 3  # regions and foreground, with the classes of the ground truth
    REGIONS = 4  # regions without ground truth
    TOKENS = 5  # tokens, before any region


@dataclass(frozen=True)
class ProtocolArray:
    """An array of a protocol, one row for each photograph of the data set.

    Attributes:
        spec: name, shape of a row and type, as they are stored.
        fill: value of the rows of photographs that the protocol says nothing about.

    """

    spec: ArraySpec
    fill: float = 0


@dataclass(frozen=True)
class Headline:
    """A metric that a person looks at first.

    Attributes:
        name: its name.
        value: its value as text.
        meaning: what it is measured on, in a few words.
        explanation: what it says to somebody who has not read the paper; the page shows it.

    """

    name: str
    value: str
    meaning: str
    explanation: str = ""


@dataclass(frozen=True)
class Column(Generic[Metrics]):
    """A column of the protocol in the table of a comparison.

    Attributes:
        name: key in ``comparison.json``.
        title: head of the column.
        value: reads the value from the metrics; None if it is not defined.
        digits: decimal places.
        deviation: reads the standard deviation, if the column has one.
        interval: reads the confidence interval of 95 %, if the column has one.
        curve: the page of the comparison draws the value against the number of regions.

    """

    name: str
    title: str
    value: Callable[[Metrics], float | None]
    digits: int = 3
    deviation: Callable[[Metrics], float | None] | None = None
    interval: Callable[[Metrics], Interval | None] | None = None
    curve: bool = False


@dataclass(frozen=True)
class Classification:
    """Classes of all evaluated pixels, for the tables and the confusion matrices of the page.

    Attributes:
        title: name of the protocol and of its variant, as the page shows it.
        metrics: metrics of the classes that the page shows.
        miou_deviation: standard deviation of the mean IoU over seeds, if there are several.
        accuracy_deviation: likewise of the pixel accuracy.

    """

    title: str
    metrics: ClassificationMetrics
    miou_deviation: float | None = None
    accuracy_deviation: float | None = None


@dataclass(frozen=True)
class Plot:
    """A plot of the page.

    Attributes:
        figure: the plot, of lines or cells.
        title: what it shows, in a few words.
        caption: how to read it.

    """

    figure: Figure
    title: str
    caption: str


class Tally(ABC, Generic[Metrics]):
    """The running total of one protocol in the pass over all regions of the evaluated photographs.

    Its memory must not grow with the number of photographs, apart from a few numbers for each.
    """

    def add(self, block: Regions) -> None:
        """Add the regions of some photographs. Photographs come in order, and each one once."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """Compute the metrics after the last block. May write files of the protocol to the checkpoint."""


class Protocol(ABC, Generic[Metrics]):
    """Base class of all protocols.

    Import PyTorch and other heavy libraries inside of methods: ``dcn results`` imports this class.

    A protocol may keep arrays, which it fills shard by shard (:meth:`measure_shard`) or photograph by
    photograph (:meth:`measure`). At the end :meth:`tally` goes over the regions of all evaluated photographs,
    in one pass for all protocols.

    Attributes:
        name: section of ``results.json``.
        version: raise it when the same inputs would give other arrays or metrics.
        group: what the protocol measures.
        needs_labels: the protocol needs masks with classes. It applies only to data sets with classes. Its
            tally gets only blocks with labelled regions. It has no metrics if no evaluated photograph is
            labelled.
        all_splits: :meth:`measure` sees the segmented photographs of all splits, not only the evaluated ones.
        metrics_type: pydantic model of the metrics. ``results.json`` has the fields that were set, so a field
            with a default may be absent there.

    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    group: ClassVar[Group]
    needs_labels: ClassVar[bool] = False
    all_splits: ClassVar[bool] = False
    metrics_type: type[Metrics]

    def is_wanted(self, settings: Settings) -> bool:
        """Whether settings that are off by default ask for the protocol. If not, no key has its version."""
        return True

    def applies(self, run: EvaluatedRun) -> bool:
        """Whether the protocol is defined for a run: its data set, its segmenter and its settings."""
        return self.is_wanted(run.settings) and (not self.needs_labels or run.num_classes > 0)

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        """Arrays of the protocol in the checkpoint of ``evaluate``. Their names are unique in the table."""
        return ()

    def prepare(self, run: EvaluatedRun) -> None:
        """Write files that all shards read, before the first shard. Safe to repeat."""

    def measure_shard(self, run: EvaluatedRun, shard: Shard, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Fill arrays of the protocol for one shard at once, where batches are faster.

        Args:
            run: the run.
            shard: cached arrays of the ``s`` photographs of the shard.
            arrays: arrays of the protocol ``[s, ...]``, filled with their fill value.

        """

    def measure(self, photograph: Photograph) -> Rows:
        """Measure one photograph. Returns its values by array; an array left out keeps its fill value.

        Called from several threads at once.
        """
        return {}

    @abstractmethod
    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[Metrics]:
        """Begin the pass over all regions.

        Args:
            run: the run. All arrays are complete.
            rows: rows of the evaluated photographs that have regions, at least one.
            warn: takes what a reader of the metrics should know.

        """

    def over_seeds(self, runs: Sequence[EvaluatedRun]) -> Metrics | None:
        """Compute the means of the metrics over runs that differ in the seed of their training.

        A confidence interval is that of the mean, over photographs. A protocol without intervals gives None,
        because the means of its metrics need no photograph.
        """
        return None

    def headline(self, metrics: Metrics) -> list[Headline]:
        """Metrics that the page and the command line show first."""
        return []

    def details(self, metrics: Metrics) -> list[Headline]:
        """Metrics that need an explanation. The page shows them folded, below the first ones."""
        return []

    def columns(self) -> tuple[Column[Metrics], ...]:
        """Columns of the protocol in comparisons."""
        return ()

    def classifications(self, metrics: Metrics) -> list[Classification]:
        """Classes that the protocol gave to regions or pixels; empty if it gives none."""
        return []

    def plots(self, run: EvaluatedRun, metrics: Metrics) -> list[Plot]:
        """Plots of the page. They may read the arrays of the protocol."""
        return []


def shown_metric(value: float | None, digits: int = 3) -> str:
    """Format a metric as text.

    >>> shown_metric(0.47123), shown_metric(None)
    ('0.471', 'not defined')
    """
    return "not defined" if value is None else f"{value:.{digits}f}"


# Why a metric of classes is not defined although pixels are labelled.
SINGLE_CLASS = "all labelled pixels have the same class, so there is nothing to tell apart"


def meaning_of(value: float | None, meaning: str) -> str:
    """Explain a metric of classes, or say why it is not defined."""
    return SINGLE_CLASS if value is None else meaning


def shown_estimate(value: float | None, interval: Interval | None, digits: int = 3) -> str:
    """Format a metric and its confidence interval as text.

    >>> shown_estimate(0.47123, Interval(low=0.4, high=0.5)), shown_estimate(0.47123, None)
    ('0.471 [0.400, 0.500]', '0.471')
    """
    shown = shown_metric(value, digits)
    return shown if interval is None else f"{shown} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def shown_mean(mean: float | None, deviation: float | None, runs: int) -> str:
    """Format the mean of a metric over some runs as text, with its standard deviation if there are several.

    >>> shown_mean(0.47123, 0.024, 10), shown_mean(0.47123, 0.0, 1)
    ('0.471 ± 0.024', '0.471')
    """
    several = runs > 1 and deviation is not None
    return f"{shown_metric(mean)} ± {deviation:.3f}" if several else shown_metric(mean)
