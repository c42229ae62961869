"""The stage ``segment`` against the plainest way from tokens to pixels: a matrix product and interpolate.

    python -m benchmarks.segment [--images 256] [--pairs 5] [--json FILE]

The paper's shape: 784 tokens of 384 an image, five regions, photographs of 500 x 375. The stage begins with
the cached tokens and ends with a complete checkpoint: the network, assignments, areas, boxes, foreground,
Zarr, digests. The reference begins with float32 tokens in memory and centers that are given, so it has no
network: one product an image, ``torch.nn.functional.interpolate``, and the region of every pixel by
``argmax``. The second row leaves the ``argmax`` out: nothing but cosines at every pixel.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.cached_tokens import fill_extract
from benchmarks.pairs import measure_pairs
from benchmarks.paper import PAPERS_LOSS
from benchmarks.photographs import HEIGHT, WIDTH, forget, make_settings, run
from benchmarks.row import Row
from benchmarks.stage_command import run_command
from dcn.weights.presets import Precision


def measure(folder: Path, images: int, pairs: int, precision: Precision) -> list[Row]:
    """Cached tokens in, regions out."""
    # The network of the paper, at its width. More training changes no speed.
    training = {**PAPERS_LOSS, "iterations": 1, "batch_size": 8, "prototypes": "normal"}
    plain_borders = {"refine": False}  # as the reference; the refinement takes as long for any segmenter
    settings = make_settings(folder, images, precision, train=training, segment=plain_borders)
    run(settings, "index")
    fill_extract(settings)
    job = run(settings, "train")
    tokens = torch.from_numpy(job.checkpoint("extract").array("tokens").rows(0, images)).float()  # [N, n, d]
    centers = torch.randn(settings.train.num_prototypes, tokens.shape[2])  # [k, d]
    side = round(tokens.shape[1] ** 0.5)

    @torch.inference_mode()
    def plainly(*, labels: bool) -> None:
        for image in tokens:
            cosines = (centers @ image.T).reshape(1, -1, side, side)  # [1, k, side, side]
            pixels = F.interpolate(cosines, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
            if labels:
                pixels.argmax(dim=1)

    rows = []
    for labels, against in (
        (True, "product, interpolate, argmax"),
        (False, "product and interpolate"),
    ):
        ratio, details = measure_pairs(
            partial(plainly, labels=labels),
            lambda: run(settings, "segment"),
            pairs,
            before=lambda: forget(settings, "segment"),
        )
        details["milliseconds an image"] = details["seconds of the candidate"] / images * 1e3
        rows.append(
            Row(f"segment, {precision}", against, ratio, "of its images per second", 0.6, details=details)
        )
    return rows


if __name__ == "__main__":
    run_command(__doc__, measure, images=256, pairs=5)
