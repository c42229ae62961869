"""Seconds per image of every segmenter, from cached tokens, on the same cores in the same run.

    python -m benchmarks.segmenters [--precision bfloat16] [--regions 5] [--repeats 5] [--seconds 1]

The tokens are those of the sample photographs (focus-s14, 784 of 384), in float16 as the cache has them, each
eight times over; the network is the one that the configuration trains. Every segmenter gets them in the
batches of the stage, after an untimed one, for a second at least, and may do with a batch what it likes.
`pixels` is timed with its clusters found. The precision is that of the backbone and of the network. The row
`plain loop` calls scikit-learn's k-means image by image, with its own threads; the segmenter
`kmeans` gives every image one core, and does several images at once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.stages import run_up_to
from dcn.segmenters.kmeans import kmeans_assignment
from flows.stages.segment import SEGMENT_BATCH
from flows.stages.segmenters import Segment, open_segmenter

SEGMENTERS = ("dcn", "kmeans", "spectral", "ncut", "modularity", "pixels")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--regions", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="for which each is timed in a repeat")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    segmenters: dict[str, Segment] = {}
    for name in SEGMENTERS:
        k = arguments.regions
        size = {"dcn": f"train.num_prototypes={k}", "pixels": "segment.segmenter.num_clusters=21"}
        choice = [f"backbone.precision={arguments.precision}", f"segment.segmenter.name={name}"]
        choice += [size.get(name, f"segment.segmenter.num_regions={k}")]
        job = run_up_to("segment", "sample", choice, arguments.workspace)
        segmenters[name] = open_segmenter(job)
    segmenters["plain loop"] = lambda tokens, _: np.stack(
        [kmeans_assignment(values.astype(np.float32), arguments.regions, 0) for values in tokens]
    )
    tokens = job.checkpoint("extract").array("tokens").rows(0, 8)
    tokens = np.concatenate([tokens] * 8)  # [64, n, d]
    seconds: dict[str, list[float]] = {name: [] for name in segmenters}
    for _ in range(arguments.repeats):
        for name, segment in segmenters.items():
            segment(tokens[:SEGMENT_BATCH], None)
            images, began = 0, time.perf_counter()
            while (passed := time.perf_counter() - began) < arguments.seconds:
                start = images % len(tokens)
                segment(tokens[start : start + SEGMENT_BATCH], None)
                images += SEGMENT_BATCH
            seconds[name].append(passed / images)
    print(f"{len(tokens)} images of {tokens.shape[1]} tokens, {arguments.regions} regions, "
          f"{torch.get_num_threads()} threads, median of {arguments.repeats}")  # fmt: skip
    print("segmenter    ms per image   times as long as the DCN")
    for name, values in seconds.items():
        ratio = statistics.median(v / d for v, d in zip(values, seconds["dcn"], strict=True))
        print(f"{name:<12} {statistics.median(values) * 1e3:>12.2f}   {ratio:.1f}")


if __name__ == "__main__":
    main()
