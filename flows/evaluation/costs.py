"""The table of the costs: metrics as one step after the other takes what was found instead of the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flows.evaluation.knn_bank import headline_neighbors
from flows.evaluation.protocol import shown_mean, shown_metric
from flows.evaluation.protocols.foreground import Foreground
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.protocols.knn import KNN
from flows.evaluation.protocols.true_regions import TrueRegions
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import Results

COST_TITLES = ("regions", "foreground", "classes", "mIoU", "pixel accuracy")
_TRUE, _FOUND, _NONE = "true", "found", "none"


@dataclass(frozen=True)
class CostRow:
    """One line of the table, as text.

    Attributes:
        regions: ``true`` or ``found``.
        foreground: ``true``, ``found``, or ``none`` where none is chosen.
        classes: ``true``, or the protocol that finds them.
        miou: mean IoU.
        accuracy: pixel accuracy.

    """

    regions: str
    foreground: str
    classes: str
    miou: str
    accuracy: str


def cost_table(results: Results) -> list[CostRow]:
    """Set the metrics of true regions beside those of found ones.

    k-NN classifies the background like any other class, so it needs no foreground.

    Args:
        results: the results of a run.

    Returns:
        The lines under :data:`COST_TITLES`; none if the true regions were not measured.

    """
    of_truth, found = results.find(TrueRegions), results.find(KMeans)
    if of_truth is None or found is None:
        return []
    bound, foreground_bound = results.of(UpperBound), of_truth.upper_bound_of_foreground
    perfect = None if bound.miou is None else 1.0  # by definition, where classes can be confused at all
    rows = [
        _row(_TRUE, _TRUE, _TRUE, perfect, perfect),
        _row(_FOUND, _TRUE, _TRUE, bound.miou, bound.accuracy),
        _row(_FOUND, _FOUND, _TRUE, foreground_bound.miou, foreground_bound.accuracy),
    ]
    for regions, foreground, reached in (
        (_TRUE, _TRUE, of_truth.kmeans),
        (_FOUND, _TRUE, of_truth.kmeans_of_true_foreground),
        (_FOUND, _FOUND, found),
    ):
        miou = shown_mean(reached.miou, reached.miou_deviation, found.seeds)
        accuracy = shown_mean(reached.accuracy, reached.accuracy_deviation, found.seeds)
        rows.append(CostRow(regions, foreground, found.method, miou, accuracy))
    found_knn = results.find(KNN)
    if of_truth.knn and found_knn is not None and found_knn.root:
        k = headline_neighbors(of_truth.knn)
        for regions, nearest in ((_TRUE, of_truth.knn[k]), (_FOUND, found_knn.root[k])):
            rows.append(_row(regions, _NONE, f"k-NN, k = {k}", nearest.miou, nearest.accuracy))
    if results.find(Foreground) is None:  # no foreground step: lines that differ in it alone are equal
        rows = list(dict.fromkeys(replace(row, foreground=_NONE) for row in rows))
    return rows


def _row(regions: str, foreground: str, classes: str, miou: float | None, accuracy: float | None) -> CostRow:
    return CostRow(regions, foreground, classes, shown_metric(miou), shown_metric(accuracy))
