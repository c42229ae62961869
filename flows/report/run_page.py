"""Write the page of a run: everything that it shows."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from dcn.figures.confusion import confusion_figure
from dcn.images.palette import region_palette
from flows.evaluation.costs import COST_TITLES, cost_table
from flows.evaluation.protocols.foreground import ForegroundVariants
from flows.evaluation.protocols.region_measures import RegionMeasures
from flows.evaluation.results import Results, read_results
from flows.inputs.region_counts import region_counts
from flows.inputs.summaries import IndexSummary
from flows.report.classes import given_names, named_by_truth, shown_classes
from flows.report.gallery import class_galleries
from flows.report.headline import detailed_metrics, headline_metrics
from flows.report.page import photograph_uri, plot_uri, render, script_json
from flows.report.paper_figures import ShownImage, paper_figures
from flows.report.photographs import draw_photographs
from flows.report.picture_files import PICTURES_PER_FILE, PictureFiles
from flows.report.pictures import ResultReader
from flows.report.plots import page_plots
from flows.stage import Job, Warn

_TEMPLATE = "report.html.j2"
# A page with more refused files is slow to open, and nobody reads them there.
_SHOWN_REFUSED = 1000
# Photographs that the figures choose from.
_FIGURE_PHOTOGRAPHS = 24


def write_page(job: Job, stage: str, inputs: tuple[str, ...], warn: Warn) -> dict[str, Any]:
    """Write ``report.html`` and, if they are many, the files of the pictures.

    Args:
        job: the run; its ``evaluate`` is complete.
        stage: name of the stage whose checkpoint gets the page.
        inputs: the stages that it reads.
        warn: takes the reason why a photograph is not shown.

    Returns:
        The summary of the stage.

    """
    checkpoint, results = job.checkpoint(stage), read_results(job)
    reader = ResultReader(job, semantic=True)
    galleries, files = class_galleries(job), PictureFiles(checkpoint)
    drawn = draw_photographs(reader, job.settings.report.num_photographs, galleries, files, warn, stage)
    place_of = {entry.pop("row"): place for place, entry in enumerate(drawn.entries)}
    classes = shown_classes(reader, results)
    matched = named_by_truth(results)
    variants = results.find(ForegroundVariants)
    refused = [*drawn.refused, *islice(reader.index.refused(), _SHOWN_REFUSED)]
    pictures = files.finish()
    data = {
        "run": checkpoint.key,
        "columns": _columns(matched, job.settings.finds_foreground),
        "classes": [asdict(one) for one in classes],
        "names": given_names(reader, classes),
        "regionColors": [
            f"#{color.tobytes().hex()}" for color in region_palette()[: job.settings.num_regions]
        ],
        "photographs": drawn.entries,
        "picturesPerFile": PICTURES_PER_FILE,
        "refused": refused,
    }
    page = render(
        _TEMPLATE,
        data={"data": script_json(data), **({} if pictures is None else {"pictures": pictures})},
        title=job.settings.dataset.title,
        segmenter=job.settings.segment.segmenter.name,
        regions_are_classes=job.settings.regions_are_classes,
        clustering=job.settings.evaluate.clustering.title,
        finds_foreground=job.settings.finds_foreground,
        labelled=bool(results.labelled_images),
        matched=matched,
        headlines=headline_metrics(results),
        details=detailed_metrics(results),
        files=IndexSummary.read(job).describe(),
        shown=len(drawn.entries),
        segmented=int(np.count_nonzero(region_counts(job))),
        galleries=[(one, galleries[one.index]) for one in classes if one.color and one.index in galleries],
        crops=drawn.crops,
        place_of=place_of,
        id_of=lambda row: reader.index.image(row).item.id,
        plots=list(page_plots(job, results)),
        classifications=results.classifications(),
        class_metrics=_class_metrics(reader, results),
        confusion=_confusion(reader, results),
        cost_titles=COST_TITLES,
        costs=cost_table(results),
        foreground_variants={} if variants is None else variants.root,
        paper=[
            {"title": one.title, "caption": one.caption, "picture": photograph_uri(one.figure)}
            for one in paper_figures(
                job, reader, [ShownImage(image, reader) for image in reader.shown(_FIGURE_PHOTOGRAPHS)]
            )
        ],
        refused=len(refused),
        more_refused=max(0, reader.index.summary.refused - _SHOWN_REFUSED),
        warnings=[
            (read, warning)
            for read in inputs
            for warning in job.checkpoint(read).require().warnings
            if read != "index"  # those are what was refused
        ],
        provenance=_provenance(job, inputs),
    )
    checkpoint.write_file("report.html", page)
    return {"photographs": len(drawn.entries), "bytes": len(page)}


def _columns(labelled: bool, foreground: bool) -> list[dict[str, str]]:
    """Name the columns of the list of photographs. The kind tells the script of the page what to draw."""
    columns = {
        "photograph": "photograph",
        "regions": "regions",
        **({"foreground": "foreground"} if foreground else {}),
        "classes": "classes",
        **({"truth": "ground truth"} if labelled else {}),
    }
    return [{"kind": kind, "title": title} for kind, title in columns.items()]


def _class_metrics(reader: ResultReader, results: Results) -> list[dict[str, Any]]:
    """Collect name, color and best overlap of every true class, and its IoU in every classification."""
    found, measures = results.classifications(), results.find(RegionMeasures)
    return [
        {
            "name": name,
            "color": f"#{reader.dataset_palette()[i].tobytes().hex()}",
            "abo": None if measures is None else measures.class_abo[i],
            "iou": [one.metrics.class_iou[i] for one in found],
        }
        for i, name in enumerate(reader.index.class_names if found else ())
    ]


def _confusion(reader: ResultReader, results: Results) -> str | None:
    matrices = {one.title: np.array(one.metrics.confusion) for one in results.classifications()}
    return plot_uri(confusion_figure(matrices, reader.index.class_names)) if matrices else None


def _provenance(job: Job, stages: tuple[str, ...]) -> list[dict[str, Any]]:
    entries = []
    for stage in stages:
        manifest = job.checkpoint(stage).require()
        entries.append(
            {
                "stage": stage,
                "key": manifest.key,
                "created": manifest.created,
                "seconds": manifest.seconds,
                "settings": json.dumps(manifest.settings, indent=1),
                "software": ", ".join(f"{k} {v}" for k, v in manifest.provenance["software"].items()),
            }
        )
    return entries
