"""Label maps of a whole data set as files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dcn.images.palette import class_palette, palette_png, region_palette
from flows.cli.output_files import output_path
from flows.errors import FlowError
from flows.execution.plan import find_job
from flows.inputs.datasets import open_dataset
from flows.report.pictures import ResultReader
from flows.settings import Settings
from storage import CheckpointMissingError
from storage.stores.files import write_atomically


def export_labels(settings: Settings, what: Literal["regions", "semantic"], output: Path) -> int:
    """Write ``<output>/<id>.png`` for every photograph that has such labels; returns how many.

    An id that is too long for the name of a file is cut, and ends in a digest of the whole.

    Raises:
        CheckpointMissingError: the stage that makes them is not complete.
        FlowError: an id would lead out of the output folder, or a label map would replace a file of the data
            set.

    """
    job = find_job(settings)
    needed = "segment" if what == "regions" else "evaluate"
    if needed not in job.keys:
        raise CheckpointMissingError(f"the data set is not indexed yet; run dcn {needed} first")
    job.checkpoint(needed).require()
    reader = ResultReader(job, semantic=what == "semantic")
    palette = region_palette() if what == "regions" else class_palette(reader.index.summary.ignore_label)
    count = 0
    root, dataset = output.resolve(), open_dataset(job.settings.dataset)
    if root.is_relative_to(dataset.root.resolve()):
        raise FlowError(
            f"{output} is in the data set {dataset.root}; label maps there would become a part of it"
        )
    for image in reader.segmented():
        labels = reader.regions(image)  # [H, W]
        if what == "semantic":
            classes = reader.classes(image)
            if classes is None:
                continue
            labels = classes[labels]
        path = output_path(root, image.item.id, ".png")
        if image.item.mask and path.resolve() == (dataset.root / image.item.mask).resolve():
            raise FlowError(f"the label map of {image.item.id} would replace its ground truth {path}")
        write_atomically(path, palette_png(labels, palette))
        count += 1
    return count
