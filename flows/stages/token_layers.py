"""Stage ``token_layers``: caches the tokens of further layers of the ViT, for the head of ``distill``."""

from __future__ import annotations

from typing import Any

import numpy as np

from flows.errors import InvalidSettingsError, name_parameters
from flows.inputs.image_index import open_index
from flows.inputs.models import backbone_identity, load_backbone
from flows.inputs.tokens.token_layers import token_array
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from flows.stages.extract import finite_tokens, read_batches
from storage import ArraySpec, Manifest


class TokenLayersStage(Stage):
    """Writes ``tokens_of_layer_minus_3 [N, n, d]`` for each layer, and ``present [N]``: it was read.

    It is no part of ``extract``, so that a layer for the head leaves the regions and embeddings as they are.
    """

    name = "token_layers"
    version = 2
    always_in_key = frozenset({"backbone"})

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index",)

    def settings(self, settings: Settings) -> dict[str, Any]:
        return {
            **backbone_identity(settings),
            "input_size": settings.backbone.input_size,
            "layers": sorted(settings.more_token_layers),
            "flip": settings.backbone.flip,
        }

    def layout(self, job: Job) -> Layout:
        layers, size = job.settings.more_token_layers, job.settings.backbone.input_size
        if not layers:
            raise InvalidSettingsError(
                "distill.layers names no layer beside backbone.token_layer, whose tokens extract caches; set "
                "distill.rounds to 1 and distill.layers to blocks such as [-3, -1]"
            )
        backbone = load_backbone(job.settings)
        assert size is not None
        with name_parameters("setting backbone.{}"):
            shape = (backbone.grid(size) ** 2, backbone.dim)
        arrays = (
            *(ArraySpec(token_array(layer), shape, "float16", ("patch", "channel")) for layer in layers),
            ArraySpec("present", (), "bool", ()),
        )
        return Layout(len(open_index(job)), job.settings.shard_images, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        from dcn.flip_averaging import compute_features

        backbone, layers = load_backbone(job.settings), job.settings.more_token_layers
        flip = job.settings.backbone.flip
        start, stop = manifest.shard_range(shard)
        arrays = {
            spec.name: np.zeros((stop - start, *spec.row_shape), dtype=spec.dtype) for spec in manifest.arrays
        }
        refused: list[dict[str, str]] = []
        for read, inputs in read_batches(job, self.name, open_index(job).images(start, stop), refused):
            rows = [image.row - start for image in read]
            features = compute_features(backbone, inputs, layers[0], layers[0], layers[1:], flip=flip)
            for layer, tokens in zip(layers, (features.tokens, *features.more_tokens), strict=True):
                arrays[token_array(layer)][rows] = finite_tokens(tokens, job.settings.backbone.name)
            arrays["present"][rows] = True
        return ShardResult(arrays, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        refused = warn_of_refused(job.checkpoint(self.name), manifest, "teaches the head nothing", warn)
        return {"images": manifest.rows - refused, "refused": refused}
