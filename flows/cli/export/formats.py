"""The formats of an export. :data:`FORMATS` is the only list of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from flows.cli.export.coco_file import open_coco_file
from flows.cli.export.label_maps import open_label_maps
from flows.cli.export.labeled_photograph import Export, LabeledPhotograph
from flows.cli.export.region_table import open_region_table
from flows.errors import FlowError


@dataclass(frozen=True)
class Format:
    """One line of the table.

    Attributes:
        name: name of the format on the command line.
        open: opens the files of an export. The context gives the function that writes one photograph, and
            completes the files.
        needs_classes: the format has classes even if regions are exported.

    """

    name: str
    open: Callable[[Export], AbstractContextManager[Callable[[LabeledPhotograph], None]]]
    needs_classes: bool = False


FORMATS = {
    entry.name: entry
    for entry in (
        Format("png", open_label_maps),
        Format("coco", open_coco_file),
        Format("csv", open_region_table, needs_classes=True),
    )
}


def find_formats(names: Sequence[str]) -> list[Format]:
    """Find the formats with some names; each once, in the given order.

    Raises:
        FlowError: there is no such format.

    """
    for name in names:
        if name not in FORMATS:
            raise FlowError(f"there is no format {name!r} of an export; choose from {', '.join(FORMATS)}")
    return [FORMATS[name] for name in dict.fromkeys(names)]
