"""A few photographs with all their maps as one picture, for the page of a flow run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.figures.picture_table import picture_table
from flows.printable import printable_line
from flows.report.pictures import RGB, ResultReader, drawn, jpeg
from flows.stage import Job

_CELL_WIDTH = 200
# Heads of columns for which :func:`drawn` has another name.
_HEADS = {"semantic": "classes"}


def contact_sheet(job: Job, count: int, semantic: bool) -> bytes | None:
    """Draw ``count`` photographs with their maps as a JPEG, one row each; None if none can be read.

    Args:
        job: the run. Its ``segment`` is complete, and its ``evaluate`` too if ``semantic`` is true.
        count: number of photographs.
        semantic: draw the classes as well.

    """
    reader = ResultReader(job, semantic)
    rows, labels = [], set[int]()
    for image in reader.shown(count):
        try:
            maps = reader.maps(image)
        except (InvalidPhotographError, InvalidMaskError, OSError):
            continue  # the stages warn of lasting errors; a passing error must not fail the run for a picture
        for classes in (maps.semantic, maps.truth):
            labels.update([] if classes is None else np.unique(classes).tolist())
        rows.append({head: _small(picture) for head, picture in drawn(maps, reader.palette()).items()})
    if not rows:
        return None
    heads = dict.fromkeys(head for row in rows for head in row)
    columns = [(_HEADS.get(head, head), [row.get(head) for row in rows]) for head in heads]
    legend = _legend(reader, sorted(labels))
    table = picture_table(columns, legend, _CELL_WIDTH)
    return jpeg(table, table.shape[1])


def _small(picture: RGB) -> RGB:
    """Shrink a picture to twice its cell, so that only one photograph at a time is in memory."""
    image = Image.fromarray(picture)
    image.thumbnail((2 * _CELL_WIDTH, 2 * _CELL_WIDTH))
    return np.asarray(image)


def _legend(reader: ResultReader, labels: Sequence[int]) -> list[tuple[str, npt.NDArray[np.uint8]]]:
    """Name and color of every class; classes that ``names.yaml`` joins are one."""
    palette, named = reader.palette(), reader.named
    entries = {}
    for label in labels:
        if label == reader.index.summary.ignore_label:
            name = "ignored"
        elif named is not None:
            name = named.names[named.class_of_cluster[label]]
        else:
            name = reader.index.class_names[label]
        entries[printable_line(name)] = palette[label]
    return list(entries.items())
