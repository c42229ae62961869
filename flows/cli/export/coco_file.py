"""Format ``coco``: one COCO JSON file with the masks of all photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dcn.coco import REGIONS, class_categories, open_coco_writer
from flows.cli.export.labeled_photograph import Export, LabeledPhotograph
from storage.stores.files import open_atomically

COCO_FILE = "coco.json"


@contextmanager
def open_coco_file(export: Export) -> Iterator[Callable[[LabeledPhotograph], None]]:
    """Write ``coco.json``: every region of every photograph, or every class of it but the background.

    The names of the photographs are relative to the folder of the data set.
    """
    if export.what == "regions":
        names, categories = REGIONS, [1] * export.job.settings.num_regions
    else:
        assert export.reader.named is not None
        classes = export.reader.named.names
        names, categories = class_categories(classes), list(range(len(classes)))
    with (
        open_atomically(export.folder / COCO_FILE) as file,
        open_coco_writer(file, names) as writer,
    ):
        yield lambda photograph: writer.add(photograph.image.item.image, photograph.labels, categories)
