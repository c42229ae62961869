"""Format ``csv``: a table with one line for each region of each photograph."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from dcn.clustering import center_distances, has_direction
from flows.cli.export.labeled_photograph import Export, LabeledPhotograph
from flows.evaluation.protocols.kmeans import CENTERS
from flows.inputs.foreground import evaluated_foreground
from flows.inputs.region_embeddings import embedding_reader
from flows.printable import printable_line
from flows.stage import Job
from storage.stores.files import open_atomically

TABLE_FILE = "regions.csv"
COLUMNS = (
    "photograph", "region", "class", "foreground", "area", "left", "top", "width", "height", "distance"
)  # fmt: skip
# Spreadsheets calculate what begins like this, also in the wide characters of East Asia.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - the wide characters are meant


@contextmanager
def open_region_table(export: Export) -> Iterator[Callable[[LabeledPhotograph], None]]:
    """Write ``regions.csv``: photograph, region, class, foreground, area and box in pixels, and distance.

    The distance is that of the embedding's direction to the nearest center of a cluster, between 0 and 2. A
    region of the background has none, and a photograph that was not evaluated has no classes.
    """
    reader, segment = export.reader, export.job.checkpoint("segment")
    assert reader.named is not None
    names = reader.named.names
    arrays = {name: segment.array(name) for name in ("area", "box", "foreground")}
    distances = _Distances(export.job)
    with open_atomically(export.folder / TABLE_FILE) as file:
        table = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        table.writerow(COLUMNS)

        def write(photograph: LabeledPhotograph) -> None:
            image, classes = photograph.image, photograph.classes
            area, box, foreground = (array.rows(image.row, image.row + 1)[0] for array in arrays.values())
            foreground = evaluated_foreground(export.job.settings, foreground)
            distance = distances.of(image.row, foreground)
            for region in np.flatnonzero(area).tolist():
                top, left, bottom, right = box[region].tolist()
                table.writerow(
                    (
                        file_cell(image.item.image),
                        region,
                        "" if classes is None else text_cell(names[classes[region]]),
                        int(foreground[region]),
                        int(area[region]),
                        left,
                        top,
                        right - left,
                        bottom - top,
                        "" if np.isnan(distance[region]) else round(float(distance[region]), 6),
                    )
                )

        yield write


def file_cell(name: str) -> str:
    """Write the path of a file so that no spreadsheet calculates it: ``=1+2.jpg`` becomes ``./=1+2.jpg``.

    Both name the same file. Characters that cannot be printed are escaped.
    """
    return f"./{printable_line(name)}" if name.startswith(_FORMULA) else printable_line(name)


def text_cell(text: str) -> str:
    """Write a text so that no spreadsheet calculates it: an apostrophe comes before ``=1+2``."""
    return f"'{printable_line(text)}" if text.startswith(_FORMULA) else printable_line(text)


class _Distances:
    """Distances of the foreground regions of a run to the nearest centers of clusters."""

    def __init__(self, job: Job) -> None:
        self._read = None if job.settings.regions_are_classes else embedding_reader(job, "embed")
        self._centers = job.checkpoint("evaluate").read_values(CENTERS)  # [K, d]

    def of(self, row: int, foreground: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Compute the distance ``[k]`` of each region of the photograph in ``row``; NaN if it has none."""
        nearest = np.full(len(foreground), np.nan)
        if self._read is None or not len(self._centers):
            return nearest
        embedding = self._read(np.array([row]))[0]  # [k, d]
        known = foreground & has_direction(embedding)
        if known.any():
            nearest[known] = center_distances(embedding[known], self._centers).min(axis=1)
        return nearest
