"""Stage ``report``: one page that a person opens."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from dcn.images.palette import region_palette
from flows.evaluation.costs import COST_TITLES, cost_table
from flows.evaluation.named_classes import names_digest
from flows.evaluation.protocols.foreground import ForegroundVariants
from flows.evaluation.protocols.region_measures import RegionMeasures
from flows.evaluation.results import Results, read_results
from flows.inputs.image_index import open_index
from flows.inputs.region_counts import region_counts
from flows.inputs.summaries import IndexSummary
from flows.report.classes import given_names, named_by_truth, shown_classes
from flows.report.headline import detailed_metrics, headline_metrics
from flows.report.page import photograph_uri, plot_uri, render, script_json, template_digest
from flows.report.picture_files import PICTURES_PER_FILE, PictureFiles
from flows.report.pictures import ResultReader
from flows.settings import Settings
from flows.stage import Job, Layout, Stage, Warn
from storage import Manifest

# A page with more refused files is slow to open, and nobody reads them there.
_SHOWN_REFUSED = 1000
# Photographs that the figures choose from.
_FIGURE_PHOTOGRAPHS = 24
_TEMPLATE = "report.html.j2"
# A photograph with its maps, and everything else on the page.
_PICTURE_BYTES, _PAGE_BYTES = 60_000, 5_000_000


class ReportStage(Stage):
    """``report.html``: metrics, photographs, classes, figures, refused files, and the provenance of all.

    The pictures are inside of the page, or in ``pictures-00000.js`` and so on beside it, if they are many.
    """

    name = "report"
    version = 5
    always_in_key = frozenset({"template", "title"})

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        trained = ("train",) if settings.segment.segmenter.trained else ()
        embed = () if settings.regions_are_classes else ("embed",)
        truth = ("embed_truth",) if settings.embeds_true_regions else ()
        language = () if settings.language.model is None else ("language",)
        return ("index", "extract", *trained, "segment", *embed, *truth, *language, "evaluate")

    def settings(self, settings: Settings) -> dict[str, Any]:
        chosen = settings.report.model_dump(mode="json")
        chosen["names"] = names_digest(settings)  # of the content, because the file may change
        title = getattr(settings.dataset, "title", "")  # the settings that keys refer to have no folder
        return {**chosen, "title": title, "template": template_digest(_TEMPLATE)}

    def layout(self, job: Job) -> Layout:
        photographs = min(job.settings.report.num_photographs, len(open_index(job)))
        return Layout(extra_bytes=_PAGE_BYTES + photographs * _PICTURE_BYTES)

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        from flows.report.gallery import class_galleries
        from flows.report.paper_figures import ShownImage, paper_figures
        from flows.report.photographs import draw_photographs
        from flows.report.plots import page_plots

        checkpoint, results = job.checkpoint(self.name), read_results(job)
        reader = ResultReader(job, semantic=True)
        galleries, files = class_galleries(job), PictureFiles(checkpoint)
        drawn = draw_photographs(
            reader, job.settings.report.num_photographs, galleries, files, warn, self.name
        )
        place_of = {entry.pop("row"): place for place, entry in enumerate(drawn.entries)}
        classes = shown_classes(reader, results)
        matched = named_by_truth(results)
        variants = results.find(ForegroundVariants)
        refused = [*drawn.refused, *islice(reader.index.refused(), _SHOWN_REFUSED)]
        pictures = files.finish()
        data = {
            "run": checkpoint.key,
            "columns": _columns(matched),
            "classes": [asdict(one) for one in classes],
            "names": given_names(reader, results),
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
            labelled=bool(results.labelled_images),
            matched=matched,
            headlines=headline_metrics(results),
            details=detailed_metrics(results),
            files=IndexSummary.read(job).describe(),
            shown=len(drawn.entries),
            segmented=int(np.count_nonzero(region_counts(job))),
            galleries=[
                (one, galleries[one.index]) for one in classes if one.color and one.index in galleries
            ],
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
                (stage, warning)
                for stage in self.inputs(job.settings)
                for warning in job.checkpoint(stage).require().warnings
                if stage != "index"  # those are what was refused
            ],
            provenance=_provenance(job, self.inputs(job.settings)),
        )
        checkpoint.write_file("report.html", page)
        return {"photographs": len(drawn.entries), "bytes": len(page)}


def _columns(labelled: bool) -> list[dict[str, str]]:
    """Name the columns of the list of photographs. The kind tells the script of the page what to draw."""
    columns = {
        "photograph": "photograph",
        "regions": "regions",
        "foreground": "foreground",
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
            "color": f"#{reader.palette()[i].tobytes().hex()}",
            "abo": None if measures is None else measures.class_abo[i],
            "iou": [one.metrics.class_iou[i] for one in found],
        }
        for i, name in enumerate(reader.index.class_names if found else ())
    ]


def _confusion(reader: ResultReader, results: Results) -> str | None:
    from dcn.figures.confusion import confusion_figure

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
