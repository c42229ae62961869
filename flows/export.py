"""Label maps of a whole data set as files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dcn.palette import class_palette, region_palette, save_palette_png
from flows.errors import FlowError
from flows.inputs import open_dataset
from flows.pictures import ResultReader
from flows.plan import find_job
from flows.settings import Settings
from storage import CheckpointMissingError


def export_labels(settings: Settings, what: Literal["regions", "semantic"], output: Path) -> int:
    """Write ``<output>/<id>.png`` for every photograph that has such labels; returns how many.

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
    palette = region_palette() if what == "regions" else class_palette(reader.index.summary["ignore_label"])
    count = 0
    root, dataset = output.resolve(), open_dataset(job.settings.dataset)
    if root.is_relative_to(dataset.root.resolve()):
        raise FlowError(
            f"{output} is in the data set {dataset.root}; label maps there would become a part of it"
        )
    for image in reader.segmented():
        labels = reader.regions(image) if what == "regions" else reader.semantic(image)
        if labels is None:
            continue
        path = (root / f"{image.item.id}.png").resolve()
        if not path.is_relative_to(root):
            raise FlowError(f"the id {image.item.id!r} leads out of {output}")
        if image.item.mask and path == (dataset.root / image.item.mask).resolve():
            raise FlowError(f"the label map of {image.item.id} would replace its ground truth {path}")
        save_palette_png(labels, palette, path)
        count += 1
    return count
