"""The classes of a run as its page shows them."""

from __future__ import annotations

from dataclasses import dataclass

from dcn.class_names import BACKGROUND
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.results import Results
from flows.report.pictures import ResultReader


@dataclass(frozen=True)
class ShownClass:
    """A class in the legend.

    Attributes:
        index: its number in the label maps.
        name: its name for people.
        color: its color, ``#rrggbb``; None for the background, which pictures leave clear.

    """

    index: int
    name: str
    color: str | None


def shown_classes(reader: ResultReader, results: Results) -> list[ShownClass]:
    """List the classes: those of the ground truth if clusters were matched with them, else the clusters.

    With ground truth, the label of the pixels that no metric counts comes last.
    """
    colors = [f"#{color.tobytes().hex()}" for color in reader.dataset_palette()]
    if not named_by_truth(results):
        clusters = results.of(KMeans).clusters
        names = [BACKGROUND, *(f"cluster {number}" for number in range(1, clusters + 1))]
    else:
        names = list(reader.index.class_names)
    shown = [ShownClass(index, name, colors[index] if index else None) for index, name in enumerate(names)]
    ignore_label = reader.index.summary.ignore_label
    if named_by_truth(results) and ignore_label >= len(names):
        shown.append(ShownClass(ignore_label, "ignored", colors[ignore_label]))
    return shown


def named_by_truth(results: Results) -> bool:
    """Whether the classes have the names of the ground truth, so that a person need not name them."""
    return results.of(KMeans).matched


def given_names(reader: ResultReader, classes: list[ShownClass]) -> dict[int, str]:
    """Collect the names that a person gave (``report.names``), by the number of the class."""
    if reader.named is None:
        return {}
    names = {one.index: one.name for one in classes}
    found = enumerate(reader.named.names[index] for index in reader.named.class_of_cluster)
    return {index: name for index, name in found if names.get(index) != name}
