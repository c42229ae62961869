"""The stage ``distill``: teaches a head the classes that clustering found. A resumed run gives equal bits."""

from __future__ import annotations

from typing import Any

from flows.errors import InvalidSettingsError
from flows.inputs.region_embeddings import fit_region_whitening
from flows.inputs.summaries import DistillSummary, ExtractSummary
from flows.settings import Settings
from flows.stage import Job, Layout, Stage, Warn
from storage import Manifest

# Settings of the evaluation that do not change its clusters. Any other setting is part of the key.
_NO_CLUSTERS = {"neighbors", "attainable_images", "true_regions"}
_MOST_CLUSTERS = 255


class DistillStage(Stage):
    """Writes ``head.safetensors`` and ``agreement.json``.

    The clusters are those of the protocol ``kmeans`` by its shown seed, so they come from the evaluated
    split. The head learns them on the training split. No label is read.
    """

    name = "distill"

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        layers = ("token_layers",) if settings.more_token_layers else ()
        return ("index", "extract", "segment", "embed", *layers)

    def settings(self, settings: Settings) -> dict[str, Any]:
        clusters = settings.evaluate.model_dump(mode="json", exclude=_NO_CLUSTERS)
        return {**clusters, "whiten": settings.embed.whiten, **settings.distill.model_dump(mode="json")}

    def layout(self, job: Job) -> Layout:
        import torch

        from dcn.class_head import ClassHead
        from flows.inputs.class_head import new_head_description

        if not job.settings.distill.rounds:
            raise InvalidSettingsError("distill.rounds is 0, so there is no head; set it to 1 or more")
        if job.settings.regions_are_classes:
            raise InvalidSettingsError(
                f"segment.segmenter {job.settings.segment.segmenter.name} finds classes already, so a head "
                f"has nothing to learn; set distill.rounds to 0, or choose another segmenter"
            )
        with torch.device("meta"):
            described = new_head_description(job.settings, _MOST_CLUSTERS)
            head = ClassHead(ExtractSummary.read(job).token_width, described)
        numbers = sum(tensor.numel() for tensor in head.state_dict().values())
        # The heads of all rounds are kept in half precision until the last one is complete. A state has the
        # weights, two moments of AdamW, and the best weights; the old one is there while the next is written.
        return Layout(
            extra_bytes=2 * numbers, temporary_bytes=(2 * job.settings.distill.rounds + 2 * 4 * 4) * numbers
        )

    def prepare(self, job: Job) -> None:
        fit_region_whitening(job, self.name)

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        from flows.stages.distill.run import DistillRun

        return DistillRun(job, warn).to_the_end().to_json()

    def closing(self, job: Job, manifest: Manifest) -> str:
        return DistillSummary.of(manifest).describe()
