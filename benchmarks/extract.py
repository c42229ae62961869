"""The stage ``extract`` against timm's forward pass alone, in images per second, and against itself.

    python -m benchmarks.extract [--images 144] [--pairs 3] [--json FILE]

The paper's shape: ViT-S/8, photographs of 500 x 375 squashed to 224 pixels. The stage begins with JPEG files
and ends with a complete checkpoint: decoding, resizing, attention, Zarr, digests. The forward pass begins
with normalized tensors in memory, in batches of the same size, and its result is dropped.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from benchmarks.forward_pass import against_forward_pass
from benchmarks.pairs import measure_pairs
from benchmarks.photographs import forget, make_settings, run, timms_model
from benchmarks.row import Row
from benchmarks.stage_command import run_command
from dcn.backbone import Backbone
from dcn.weights.presets import Precision
from flows.inputs.datasets import open_dataset, read_squashed
from flows.inputs.image_index import open_index
from flows.inputs.models import load_backbone
from flows.inputs.parallel import batched
from flows.settings import Settings

_GOALS: dict[Precision, float] = {"float32": 1.5, "bfloat16": 0.93}


def measure(folder: Path, images: int, pairs: int, precision: Precision) -> list[Row]:
    """Photographs in, a checkpoint out."""
    settings = make_settings(folder, images, precision)
    job = run(settings, "index")
    backbone, size = load_backbone(job.settings), job.settings.backbone.input_size
    assert size is not None
    dataset = open_dataset(settings.dataset)
    squashed = (read_squashed(dataset, size, image)[1] for image in open_index(job).images())
    batches = [
        backbone.preprocess(torch.stack([torch.from_numpy(pixels) for pixels in batch]))
        for batch in batched(squashed, settings.backbone.batch_size)
    ]
    row = against_forward_pass(settings, "extract", batches, "images", _GOALS[precision], pairs)
    row.details["least cosine of a token with timm's in float64"] = _least_cosine(
        settings, backbone, batches[0]
    )
    if precision == "float32":
        return [row]
    exact = make_settings(folder, images, "float32")
    run(exact, "index")

    def extract(chosen: Settings) -> None:
        forget(chosen, "extract")
        run(chosen, "extract")

    ratio, details = measure_pairs(lambda: extract(exact), lambda: extract(settings), pairs)
    return [
        row,
        Row(f"extract, {precision}", "the same in float32", ratio, "times as fast", 3, details=details),
    ]


@torch.inference_mode()
def _least_cosine(settings: Settings, backbone: Backbone, batch: Tensor) -> float:
    few = batch[:4]
    exact = timms_model(settings).double().forward_features(few.double())[:, 1:]  # without the CLS token
    return float(cosine_similarity(backbone.features(few).tokens.double(), exact, dim=-1).min())


if __name__ == "__main__":
    run_command(__doc__, measure, images=144, pairs=3)
