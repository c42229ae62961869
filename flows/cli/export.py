"""Export of the label maps of a data set as PNG files."""

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
    """Write the label map of every photograph to ``<output>/<id>.png``, as a palette PNG.

    An id that is too long for the name of a file is cut, and ends in a digest of the whole id.

    Args:
        settings: settings of the run.
        what: ``"regions"`` for the region of each pixel, ``"semantic"`` for its class.
        output: folder of the files, outside the data set.

    Returns:
        Number of files. Photographs without such labels have none.

    Raises:
        CheckpointMissingError: the stage that computes the labels is not complete.
        FlowError: an id would lead out of the output folder, or a file would be written into the data set.

    """
    job = find_job(settings)
    needed = "segment" if what == "regions" else "evaluate"
    if needed not in job.keys:
        raise CheckpointMissingError(
            f"the data set is not indexed yet in the workspace {job.workspace.location}; "
            f"run dcn {needed} first"
        )
    job.checkpoint(needed).require()
    reader = ResultReader(job, semantic=what == "semantic")
    palette = region_palette() if what == "regions" else class_palette(reader.index.summary.ignore_label)
    count = 0
    root, dataset = output.resolve(), open_dataset(job.settings.dataset)
    if root.is_relative_to(dataset.root.resolve()):
        raise FlowError(
            f"{output} is in the data set {dataset.root}, and label maps there would become a part of it; "
            f"choose another output folder"
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
            raise FlowError(
                f"the label map of {image.item.id} would replace its ground truth {path}; choose another "
                f"output folder"
            )
        write_atomically(path, palette_png(labels, palette))
        count += 1
    return count
