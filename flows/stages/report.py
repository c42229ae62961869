"""Stage ``report``: one self-contained page that a person opens."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.images.palette import class_palette
from flows import progress
from flows.evaluation.costs import COST_TITLES, cost_table
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.named_classes import names_digest
from flows.evaluation.protocols.foreground import ForegroundVariants
from flows.evaluation.protocols.region_measures import RegionMeasures
from flows.evaluation.results import Results, read_results
from flows.inputs.region_counts import region_counts
from flows.inputs.summaries import IndexSummary
from flows.report.headline import detailed_metrics, headline_metrics
from flows.report.page import jpeg_uri, photograph_uri, plot_uri, render, template_digest
from flows.report.pictures import ResultReader, drawn, jpeg
from flows.settings import Settings
from flows.stage import Job, Layout, Stage, Warn
from storage import Manifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flows.report.paper_figures import ShownImage

_PICTURE_WIDTH = 320
# A page with more refused files is slow to open, and nobody reads them there.
_SHOWN_REFUSED = 1000
_TEMPLATE = "report.html.j2"


class ReportStage(Stage):
    """``report.html``: metrics, pictures, curves, refused files, and the provenance of everything."""

    name = "report"
    version = 4
    always_in_key = frozenset({"template"})

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        trained = ("train",) if settings.segment.segmenter.trained else ()
        embed = () if settings.regions_are_classes else ("embed",)
        truth = ("embed_truth",) if settings.embeds_true_regions else ()
        language = () if settings.language.model is None else ("language",)
        return ("index", "extract", *trained, "segment", *embed, *truth, *language, "evaluate")

    def settings(self, settings: Settings) -> dict[str, Any]:
        chosen = settings.report.model_dump(mode="json")
        chosen["names"] = names_digest(settings)  # of the content, because the file may change
        return {**chosen, "template": template_digest(_TEMPLATE)}

    def layout(self, job: Job) -> Layout:
        return Layout(extra_bytes=job.settings.report.num_photographs * 5 * 100_000)

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        from flows.report.paper_figures import ShownImage, paper_figures

        reader = ResultReader(job, semantic=True)
        images = reader.shown(job.settings.report.num_photographs)
        progress.start(self.name, len(images))
        shown = []
        for image in images:
            try:
                shown.append(ShownImage(image, reader.maps(image)))
            except (InvalidPhotographError, InvalidMaskError) as error:
                warn(f"{image.item.image} is not shown: {error}")
            progress.advance(self.name, 1)
        results = read_results(job)
        variants = results.find(ForegroundVariants)
        photographs = [_photograph(reader, one) for one in shown]
        page = render(
            _TEMPLATE,
            dataset=job.settings.dataset.name,
            segmenter=job.settings.segment.segmenter.name,
            regions_are_classes=job.settings.regions_are_classes,
            headlines=headline_metrics(results),
            details=detailed_metrics(results),
            photographs=photographs,
            columns=list(dict.fromkeys(name for one in photographs for name in one["pictures"])),
            plots=[*_training_plots(job), _regions_histogram(job), *_protocol_plots(job, results)],
            classifications=results.classifications(),
            classes=_classes(reader, results),
            confusion=_confusion(reader, results),
            cost_titles=COST_TITLES,
            costs=cost_table(results),
            foreground_variants={} if variants is None else variants.root,
            paper=[
                {"title": one.title, "caption": one.caption, "picture": photograph_uri(one.figure)}
                for one in paper_figures(job, reader, shown)
            ],
            files=IndexSummary.read(job).describe(),
            refused=list(islice(reader.index.refused(), _SHOWN_REFUSED)),
            more_refused=max(0, reader.index.summary.refused - _SHOWN_REFUSED),
            warnings=[
                (stage, warning)
                for stage in self.inputs(job.settings)
                for warning in job.checkpoint(stage).require().warnings
                if stage != "index"  # those are what was refused
            ],
            provenance=_provenance(job, self.inputs(job.settings)),
        )
        job.checkpoint(self.name).write_file("report.html", page)
        return {"photographs": len(photographs), "bytes": len(page)}


def _photograph(reader: ResultReader, one: ShownImage) -> dict[str, Any]:
    pictures = drawn(one.maps, reader.palette())
    encoded = {name: jpeg_uri(jpeg(picture, _PICTURE_WIDTH)) for name, picture in pictures.items()}
    return {"id": one.image.item.id, "regions": len(np.unique(one.maps.regions)), "pictures": encoded}


def _classes(reader: ResultReader, results: Results) -> list[dict[str, Any]]:
    """Collect name, color and best overlap of every true class, and its IoU in every classification."""
    palette = class_palette(reader.index.summary.ignore_label)
    found, measures = results.classifications(), results.find(RegionMeasures)
    return [
        {
            "name": name,
            "color": "#" + palette[i].tobytes().hex(),
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


def _training_plots(job: Job) -> list[dict[str, str]]:
    """Plot the loss, if the segmenter was trained."""
    from flows.report.training_curve import training_caption, training_figure

    if not job.settings.segment.segmenter.trained:
        return []
    picture = plot_uri(_without_frame(training_figure(job)))
    return [{"picture": picture, "alt": "loss over iterations", "caption": training_caption(job)}]


def _regions_histogram(job: Job) -> dict[str, str]:
    from matplotlib.figure import Figure

    counts = region_counts(job)
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    k = job.settings.num_regions
    axes.bar(range(1, k + 1), [int((counts == i).sum()) for i in range(1, k + 1)])
    axes.set(xlabel="regions", ylabel="photographs", xticks=range(1, k + 1))
    caption = "Regions per photograph, at its original size."
    return {"picture": plot_uri(_without_frame(figure)), "alt": "regions per photograph", "caption": caption}


def _protocol_plots(job: Job, results: Results) -> list[dict[str, str]]:
    run = EvaluatedRun.open(job)
    return [
        {"picture": plot_uri(_without_frame(plot.figure)), "alt": plot.title, "caption": plot.caption}
        for protocol, metrics in results.measured()
        for plot in protocol.plots(run, metrics)
    ]


def _without_frame(figure: Figure) -> Figure:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure
