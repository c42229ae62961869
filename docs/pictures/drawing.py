"""Run the sample with the settings of a picture, and draw it."""

from __future__ import annotations

import json

from dcn.figures.picture_table import RGB, picture_table
from docs.pictures.table import FOLDER, PICTURES, Picture
from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import compute_shards, run_stage
from flows.report.pictures import ResultReader, drawn, jpeg
from flows.settings import Settings
from flows.stage import Job

KEYS = FOLDER / "keys.json"


def complete(settings: Settings, last: str) -> Job:
    """Run all stages up to the last one, without Prefect; returns the job."""
    for stage in stages_up_to(last, settings):
        run_stage(find_job(settings, stage), stage, compute_shards, print)
    return find_job(settings, last)


def keys(workspace: str) -> dict[str, list[str]]:
    """For each picture the keys of the checkpoints that it shows. The index must be complete."""
    return {
        picture.name: [
            find_job(run.settings(workspace), picture.stage).keys[picture.stage] for run in picture.runs
        ]
        for picture in PICTURES
    }


def draw(picture: Picture, jobs: list[Job]) -> RGB:
    """Draw a picture ``[H, W, 3]`` from finished runs: photographs, the results of each run, and classes."""
    semantic = picture.stage == "evaluate"
    readers = [ResultReader(job, semantic) for job in jobs]
    images = {image.item.id: image for image in readers[0].index.images()}
    columns: list[tuple[str, list[RGB]]] = []
    for first in range(picture.side_by_side):
        shown = [images[name] for name in picture.photographs[first :: picture.side_by_side]]
        columns.append(("photograph", [readers[0].photograph(image) for image in shown]))
        for run, reader in zip(picture.runs, readers, strict=True):
            pictures = [drawn(reader.maps(image), reader.palette()) for image in shown]
            columns.append((run.head, [one[picture.shows] for one in pictures]))
            if semantic:
                columns.append(("classes", [one["semantic"] for one in pictures]))
    return picture_table(columns, cell_width=picture.cell_width)


def write_all(workspace: str) -> None:
    """Run what is missing, write all pictures, and record the keys of the runs."""
    for picture in PICTURES:
        jobs = [complete(run.settings(workspace), picture.stage) for run in picture.runs]
        table = draw(picture, jobs)
        picture.file.write_bytes(jpeg(table, table.shape[1]))
        print(picture.file)  # noqa: T201
    KEYS.write_text(json.dumps(keys(workspace), indent=1) + "\n")
