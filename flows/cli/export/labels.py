"""Export of the labels of a data set: all photographs in one pass, in several formats at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from flows.cli.export.formats import find_formats
from flows.cli.export.labeled_photograph import Export, LabeledPhotograph, What
from flows.errors import FlowError
from flows.execution.plan import find_job
from flows.inputs.datasets import open_dataset
from flows.report.pictures import ResultReader
from flows.settings import Settings
from storage import CheckpointMissingError
from storage.stores.files import write_atomically

CLASSES_FILE = "classes.json"


def export_labels(settings: Settings, what: What, output: Path, formats: Sequence[str] = ("png",)) -> int:
    """Write the labels of every photograph into a folder.

    With classes there is a ``classes.json`` too: index, name and color of each.

    Args:
        settings: settings of the run. Their ``report.names`` names the classes.
        what: ``"regions"`` for the region of each pixel, ``"semantic"`` for its class.
        output: folder of the files, outside the data set.
        formats: names of formats, see :data:`flows.cli.export.formats.FORMATS`.

    Returns:
        Number of photographs. Those without such labels are left out.

    Raises:
        CheckpointMissingError: the stage that computes the labels is not complete.
        FlowError: there is no such format, an id would lead out of the output folder, or a file would be
            written into the data set.
        InvalidClassNamesError: the names do not fit the classes.

    """
    chosen = find_formats(formats)
    classes = what == "semantic" or any(entry.needs_classes for entry in chosen)
    job = find_job(settings)
    needed = "evaluate" if classes else "segment"
    if needed not in job.keys:
        raise CheckpointMissingError(
            f"the data set is not indexed yet in the workspace {job.workspace.location}; "
            f"run dcn {needed} first"
        )
    job.checkpoint(needed).require()
    dataset = open_dataset(job.settings.dataset)
    root = output.resolve()
    if root.is_relative_to(dataset.root.resolve()):
        raise FlowError(
            f"{output} is in the data set {dataset.root}, and files there would become a part of it; "
            f"choose another output folder"
        )
    reader = ResultReader(job, semantic=classes)
    export = Export(job, reader, what, root, dataset.root)
    if reader.named is not None:
        listing = json.dumps(reader.named.listing(reader.palette()), indent=1)
        write_atomically(root / CLASSES_FILE, f"{listing}\n".encode())
    count = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(entry.open(export)) for entry in chosen]
        for image in reader.segmented():
            photograph = LabeledPhotograph(export, image)
            if what == "semantic" and photograph.classes is None:
                continue
            for write in writers:
                write(photograph)
            count += 1
    return count
