"""Stage ``train``: trains the DCN on the cached tokens (section 3). A resumed run gives identical bits."""

from __future__ import annotations

from typing import Any

from flows.errors import name_parameters
from flows.inputs.summaries import ExtractSummary, TrainSummary
from flows.settings import Settings
from flows.stage import Job, Layout, Stage, Warn
from storage import Manifest

# Size of an iteration in curve.json.
_CURVE_BYTES = 220


class TrainStage(Stage):
    """Writes ``curve.json``, and ``dcn.safetensors``: the weights that were best on held-out images."""

    name = "train"
    version = 6

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index", "extract")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return settings.train.model_dump(mode="json", exclude={"save_seconds"})

    def layout(self, job: Job) -> Layout:
        import torch

        from dcn.network import DynamicClusteringNetwork
        from flows.stages.training.run import network_arguments

        train = job.settings.train
        with torch.device("meta"), name_parameters("setting train.{}"):
            network = DynamicClusteringNetwork(**network_arguments(train, self._token_width(job)))
        numbers = sum(tensor.numel() for tensor in network.state_dict().values())
        # The model is kept in half precision. A state has the weights, two moments of AdamW, and the best
        # weights in float32. While the next one is written, the old one is still there. Both are gone before
        # the stage is complete.
        kept = 2 * numbers + _CURVE_BYTES * train.iterations
        return Layout(extra_bytes=kept, temporary_bytes=2 * 4 * 4 * numbers - kept)

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        from flows.stages.training.run import TrainingRun

        return TrainingRun(job, self._token_width(job), warn).to_the_end().to_json()

    def remark(self, manifest: Manifest) -> str:
        return TrainSummary.of(manifest).describe_end(manifest.settings["iterations"])

    def _token_width(self, job: Job) -> int:
        return ExtractSummary.read(job).token_width
