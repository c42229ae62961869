"""Stage ``extract``: computes tokens and CLS attention of every photograph (section 4.1.2)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dcn.errors import WeightsUnavailableError
from flows import progress
from flows.errors import name_parameters
from flows.inputs.datasets import open_dataset, read_squashed
from flows.inputs.image_index import open_index
from flows.inputs.models import backbone_identity, load_backbone
from flows.inputs.parallel import batched, in_threads
from flows.inputs.summaries import ExtractSummary
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from storage import ArraySpec, Manifest

if TYPE_CHECKING:
    from torch import Tensor


class ExtractStage(Stage):
    """Writes ``tokens [N, n, d]``, ``attention [N, h, n]``, and ``present [N]``: the photograph was read."""

    name = "extract"
    version = 2
    always_in_key = frozenset({"backbone"})

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index",)

    def settings(self, settings: Settings) -> dict[str, Any]:
        backbone = settings.backbone
        return {
            **backbone_identity(settings),
            "input_size": backbone.input_size,
            "token_layer": backbone.token_layer,
            "attention_block": backbone.attention_block,
            "flip": backbone.flip,
        }

    def layout(self, job: Job) -> Layout:
        backbone = load_backbone(job.settings)
        size = job.settings.backbone.input_size
        assert size is not None
        with name_parameters("setting backbone.{}"):
            patches = backbone.grid(size) ** 2
        arrays = (
            ArraySpec("tokens", (patches, backbone.dim), "float16", ("patch", "channel")),
            ArraySpec("attention", (backbone.heads, patches), "float16", ("head", "patch")),
            ArraySpec("present", (), "bool", ()),
        )
        return Layout(len(open_index(job)), job.settings.shard_images, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        settings = job.settings.backbone
        assert settings.input_size is not None
        assert settings.token_layer is not None
        assert settings.attention_block is not None
        from dcn.backbone import Backbone
        from dcn.flip_averaging import flip_averaged_features

        backbone = load_backbone(job.settings)
        compute = flip_averaged_features if settings.flip else Backbone.features
        start, stop = manifest.shard_range(shard)
        arrays = {
            spec.name: np.zeros((stop - start, *spec.row_shape), dtype=spec.dtype) for spec in manifest.arrays
        }
        refused: list[dict[str, str]] = []
        read = partial(read_squashed, open_dataset(job.settings.dataset), settings.input_size)
        images = open_index(job).images(start, stop)
        for batch in batched(in_threads(read, images), settings.batch_size):
            usable = []
            for image, squashed, reason in batch:
                if squashed is None:
                    refused.append({"file": image.item.image, "reason": reason})
                else:
                    usable.append((image.row - start, squashed))
            if usable:
                rows = [row for row, _ in usable]
                inputs = backbone.preprocess(np.stack([squashed for _, squashed in usable]))
                features = compute(backbone, inputs, settings.token_layer, settings.attention_block)
                tokens = features.tokens.half()
                _check_finite(tokens, settings.name)
                arrays["tokens"][rows] = tokens.cpu().numpy()
                arrays["attention"][rows] = features.attention.half().cpu().numpy()
                arrays["present"][rows] = True
            progress.advance(self.name, len(batch))
        return ShardResult(arrays, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        refused = warn_of_refused(job.checkpoint(self.name), manifest, "was left out", warn)
        tokens = next(spec for spec in manifest.arrays if spec.name == "tokens")
        return ExtractSummary(
            images=manifest.rows - refused,
            refused=refused,
            tokens_per_image=tokens.row_shape[0],
            token_width=tokens.row_shape[1],
        ).to_json()


def _check_finite(tokens: Tensor, backbone: str) -> None:
    """Raise WeightsUnavailableError for tokens that are NaN, or too large for float16."""
    if not tokens.isfinite().all():
        raise WeightsUnavailableError(
            f"the tokens of {backbone} are not finite in float16; check its weights, or take another "
            f"backbone.token_layer"
        )
