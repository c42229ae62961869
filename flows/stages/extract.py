"""Stage ``extract``: computes tokens and CLS attention of every photograph (section 4.1.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcn.errors import WeightsUnavailableError
from flows import progress
from flows.errors import name_parameters
from flows.inputs.image_index import IndexedImage, open_index
from flows.inputs.models import backbone_identity, load_backbone
from flows.inputs.summaries import ExtractSummary
from flows.inputs.tokens.squashed_batches import squashed_batches
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from storage import ArraySpec, Manifest

if TYPE_CHECKING:
    from torch import Tensor


class ExtractStage(Stage):
    """Writes ``tokens [N, n, d]``, ``attention [N, h, n]``, and ``present [N]``: the photograph was read."""

    name = "extract"
    version = 3
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
        assert settings.token_layer is not None
        assert settings.attention_block is not None
        from dcn.flip_averaging import compute_features

        backbone = load_backbone(job.settings)
        start, stop = manifest.shard_range(shard)
        arrays = {
            spec.name: np.zeros((stop - start, *spec.row_shape), dtype=spec.dtype) for spec in manifest.arrays
        }
        refused: list[dict[str, str]] = []
        images = open_index(job).images(start, stop)
        for read, inputs in read_batches(job, self.name, images, refused):
            rows = [image.row - start for image in read]
            features = compute_features(
                backbone, inputs, settings.token_layer, settings.attention_block, flip=settings.flip
            )
            arrays["tokens"][rows] = finite_tokens(features.tokens, settings.name)
            arrays["attention"][rows] = features.attention.half().cpu().numpy()
            arrays["present"][rows] = True
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


def read_batches(
    job: Job, stage: str, images: Iterable[IndexedImage], refused: list[dict[str, str]]
) -> Iterator[tuple[list[IndexedImage], Tensor]]:
    """Read photographs in batches for the backbone, and report the progress of the stage.

    Args:
        job: the run.
        stage: name of the stage.
        images: the photographs.
        refused: receives the files that cannot be read any more, with the reasons.

    Yields:
        The photographs of a batch that were read, and the inputs ``[B, 3, S, S]`` of the backbone.

    """
    backbone, settings = load_backbone(job.settings), job.settings.backbone
    assert settings.input_size is not None
    for batch in squashed_batches(job.settings, settings.input_size, images):
        refused.extend(batch.refused)
        if batch.images:
            yield batch.images, backbone.preprocess(batch.pixels)
        progress.advance(stage, batch.size)


def finite_tokens(tokens: Tensor, backbone: str) -> npt.NDArray[np.float16]:
    """Convert tokens to float16, as they are cached.

    Raises:
        WeightsUnavailableError: a token is NaN, or too large for float16.

    """
    half = tokens.half()
    if not half.isfinite().all():
        raise WeightsUnavailableError(
            f"the tokens of {backbone} are not finite in float16; check its weights, or take another "
            f"block in backbone.token_layer and distill.layers"
        )
    found: npt.NDArray[np.float16] = half.cpu().numpy()
    return found
