"""Format ``png``: the label map of every photograph as a palette PNG at its original size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dcn.images.palette import palette_png, region_palette
from flows.cli.export.labeled_photograph import Export, LabeledPhotograph
from flows.cli.output_files import output_path
from flows.errors import FlowError
from storage.stores.files import write_atomically


@contextmanager
def open_label_maps(export: Export) -> Iterator[Callable[[LabeledPhotograph], None]]:
    """Write ``<id>.png`` for every photograph. The pixel values are the labels.

    An id that is too long for the name of a file is cut, and ends in a digest of the whole id.

    Raises:
        FlowError: an id would lead out of the output folder, or a map would replace the ground truth.

    """
    palette = region_palette() if export.what == "regions" else export.reader.named_palette()

    def write(photograph: LabeledPhotograph) -> None:
        item = photograph.image.item
        path = output_path(export.folder, item.id, ".png")
        if item.mask and path.resolve() == (export.dataset_root / item.mask).resolve():
            raise FlowError(
                f"the label map of {item.id} would replace its ground truth {path}; choose another output "
                f"folder"
            )
        write_atomically(path, palette_png(photograph.labels, palette))

    yield write
