"""The stage ``extract`` against timm's forward pass alone, in images per second.

    python -m benchmarks.extract [--images 48] [--pairs 3] [--json FILE]

The paper's shape: ViT-S/8, photographs of 500 x 375 squashed to 224 pixels. The stage begins with JPEG files
and ends with a complete checkpoint: decoding, resizing, attention, Zarr, digests. The forward pass begins
with normalized tensors in memory, in batches of the same size, and its result is dropped.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.pairs import measure_pairs
from benchmarks.photographs import forget, make_settings, run
from benchmarks.row import Row, add_json_option, show_rows
from dcn.presets import Precision
from flows.image_index import open_index
from flows.inputs import batched, load_backbone, open_dataset, read_squashed


def measure(folder: Path, images: int, pairs: int, precision: Precision) -> Row:
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

    @torch.inference_mode()
    def forward_pass() -> None:
        for batch in batches:
            backbone.model(batch)

    ratio, details = measure_pairs(
        forward_pass, lambda: run(settings, "extract"), pairs, before=lambda: forget(settings, "extract")
    )
    per_second = {"images per second": images / details["seconds of the candidate"]}
    return Row(
        f"extract, {precision}", "timm's forward pass alone", ratio, "of its images per second", 0.93,
        details=per_second | details,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--pairs", type=int, default=3)
    add_json_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(Path(folder), arguments.images, arguments.pairs, precision)
            for precision in ("float32", "bfloat16")
        ]
    show_rows(rows, arguments.json)


if __name__ == "__main__":
    main()
