"""The stage ``extract`` against timm's forward pass alone, in images per second.

    python -m benchmarks.extract [--images 144] [--pairs 3] [--json FILE]

The paper's shape: ViT-S/8, photographs of 500 x 375 squashed to 224 pixels. The stage begins with JPEG files
and ends with a complete checkpoint: decoding, resizing, attention, Zarr, digests. The forward pass begins
with normalized tensors in memory, in batches of the same size, and its result is dropped.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.forward_pass import against_forward_pass
from benchmarks.photographs import make_settings, run
from benchmarks.row import Row
from benchmarks.stage_command import run_command
from dcn.weights.presets import Precision
from flows.inputs.datasets import open_dataset, read_squashed
from flows.inputs.image_index import open_index
from flows.inputs.models import load_backbone
from flows.inputs.parallel import batched


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
    return [against_forward_pass(settings, "extract", backbone, batches, "images", 0.93, pairs)]


if __name__ == "__main__":
    run_command(__doc__, measure, images=144, pairs=3)
