"""Stage ``report``: one page that a person opens."""

from __future__ import annotations

from typing import Any

from flows.evaluation.named_classes import names_digest
from flows.inputs.image_index import open_index
from flows.report.page import template_digest
from flows.settings import Settings
from flows.stage import Job, Layout, Stage, Warn
from storage import Manifest

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
        head = ("distill",) if settings.distills else ()
        language = ("language",) if settings.classifies_by_language else ()
        return ("index", "extract", *trained, "segment", *embed, *truth, *head, *language, "evaluate")

    def settings(self, settings: Settings) -> dict[str, Any]:
        chosen = settings.report.model_dump(mode="json")
        chosen["names"] = names_digest(settings)  # of the content, because the file may change
        title = getattr(settings.dataset, "title", "")  # the settings that keys refer to have no folder
        return {**chosen, "title": title, "template": template_digest(_TEMPLATE)}

    def layout(self, job: Job) -> Layout:
        photographs = min(job.settings.report.num_photographs, len(open_index(job)))
        return Layout(extra_bytes=_PAGE_BYTES + photographs * _PICTURE_BYTES)

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        from flows.report.run_page import write_page  # it imports PyTorch and matplotlib; keys need neither

        return write_page(job, self.name, self.inputs(job.settings), warn)
