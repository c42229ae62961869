"""Stage ``report``: one self-contained page that a person opens."""

from __future__ import annotations

import base64
import io
import json
from importlib import resources
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.palette import class_palette
from flows import progress
from flows.figures import headline_figures
from flows.image_index import IndexedImage
from flows.pictures import ResultReader, drawn, jpeg
from flows.settings import Settings
from flows.stage import Job, Layout, Stage, Warn
from storage import Manifest
from storage.key import digest

_PICTURE_WIDTH = 320
_TEMPLATE = "report.html.j2"


class ReportStage(Stage):
    """``report.html``: figures, pictures, curves, what was refused, and where everything came from."""

    name = "report"
    reads = ("index", "extract", "train", "segment", "embed", "evaluate")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return {**settings.report.model_dump(mode="json"), "template": digest(_template().encode())}

    def layout(self, job: Job) -> Layout:
        return Layout(extra_bytes=job.settings.report.num_photographs * 5 * 100_000)

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        reader = ResultReader(job, semantic=True)
        shown = reader.shown(job.settings.report.num_photographs)
        progress.start(self.name, len(shown))
        photographs = []
        for image in shown:
            try:
                photographs.append(_photograph(reader, image))
            except (InvalidPhotographError, InvalidMaskError, OSError) as error:
                warn(f"{image.item.image} is not shown: {error}")
            progress.advance(self.name, 1)
        results = job.checkpoint("evaluate").require().summary
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        page = environment.from_string(_template()).render(
            dataset=job.settings.dataset.name,
            figures=headline_figures(results),
            photographs=photographs,
            columns=list(photographs[0]["pictures"]) if photographs else [],
            loss_curve=_loss_curve(job),
            regions_histogram=_regions_histogram(job, reader),
            classes=_classes(reader, results),
            refused=list(reader.index.refused()),
            provenance=_provenance(job),
        )
        path = job.checkpoint(self.name).write_file("report.html", page.encode())
        return {"photographs": len(photographs), "bytes": path.stat().st_size}


def _template() -> str:
    return resources.files("flows").joinpath("templates", _TEMPLATE).read_text()


def _photograph(reader: ResultReader, image: IndexedImage) -> dict[str, Any]:
    maps = reader.maps(image)
    pictures = drawn(maps, reader.index.summary["ignore_label"])
    encoded = {name: base64.b64encode(jpeg(p, _PICTURE_WIDTH)).decode() for name, p in pictures.items()}
    return {"id": image.item.id, "regions": len(np.unique(maps.regions)), "pictures": encoded}


def _classes(reader: ResultReader, results: dict[str, Any]) -> list[dict[str, Any]]:
    """Name, color and IoU of every class of the ground truth."""
    palette = class_palette(reader.index.summary["ignore_label"])
    found = results["kmeans"].get("class_iou", [])
    bound = results.get("upper_bound", {}).get("class_iou", [])
    return [
        {"name": name, "color": "#" + palette[i].tobytes().hex(), "iou": iou, "bound": most}
        for i, (name, iou, most) in enumerate(zip(reader.index.class_names, found, bound, strict=False))
    ]


def _provenance(job: Job) -> list[dict[str, Any]]:
    entries = []
    for stage in ReportStage.reads:
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


def _loss_curve(job: Job) -> str:
    curve = json.loads((job.checkpoint("train").files / "curve.json").read_bytes())
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    steps = curve["steps"]
    axes.plot([s["iteration"] + 1 for s in steps], [-s["modularity"] for s in steps], lw=0.8, label="batch")
    held_out = np.array(curve["held_out"])  # [checks, 2]
    axes.plot(held_out[:, 0], -held_out[:, 1], marker="o", ms=3, label="held-out images")
    axes.set(xlabel="iteration", ylabel="loss (negative modularity)")
    axes.legend(frameon=False)
    return _svg(figure)


def _regions_histogram(job: Job, reader: ResultReader) -> str:
    area = job.checkpoint("segment").array("area").rows(0, len(reader.index))
    counts = (area > 0).sum(axis=1)
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    k = area.shape[1]
    axes.bar(range(1, k + 1), [int((counts == i).sum()) for i in range(1, k + 1)])
    axes.set(xlabel="regions", ylabel="photographs", xticks=range(1, k + 1))
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """A figure as a data URI: an image cannot run anything."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
