"""What input size and which layer should give the tokens? The upper bound of the regions that they lead to.

    python -m benchmarks.backbone_defaults --root FOLDER [--workspace DIR] [--backbone focus-s14]

FOLDER holds VOCdevkit/VOC2012, as for the configuration voc2012-mini. For each choice a DCN is trained for
200 iterations of 8 on the train split, with the tokens and the loss of the paper, and its regions are given
their majority class, on the same split: the ground truth of the evaluated split is not looked at.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.paper import PAPERS_LOSS
from benchmarks.stages import run_up_to
from dcn.evaluation.metrics import classification_metrics
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.protocols import upper_bound
from flows.inputs.datasets import open_dataset
from flows.inputs.image_index import open_index
from flows.inputs.region_maps import RegionMaps
from flows.inputs.summaries import SegmentSummary
from flows.stage import Job

CHOICES = [(224, -1), (392, -1), (392, -2), (392, -3), (392, -4), (518, -1)]


def overlap(job: Job) -> npt.NDArray[np.int64]:
    """Pixels ``[R, C]`` that every region of the labelled photographs has in every class."""
    dataset, index = open_dataset(job.settings.dataset), open_index(job)
    rows = []
    for image in index.images():
        mask = dataset.read_mask(image.item, image.height, image.width) if image.labelled else None
        if mask is not None:
            labels = RegionMaps.read(job, image.row, image.row + 1).of(image)  # [H, W]
            rows.append(region_overlap(labels, mask, job.settings.num_regions, len(index.class_names)))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--backbone", default="focus-s14")
    arguments = parser.parse_args()
    common = [
        f"dataset.root={arguments.root}",
        "dataset.train_split=train",
        "dataset.evaluate_split=train",
        f"backbone.name={arguments.backbone}",
        "train.iterations=200",
        "train.learning_rate=0.0001",
        "segment.refine=false",
        *(f"train.{name}={json.dumps(value)}" for name, value in PAPERS_LOSS.items()),
    ]
    print("input  layer  upper bound mIoU  accuracy  regions per image  seconds of extract", flush=True)
    for size, layer in CHOICES:
        choice = [f"backbone.input_size={size}", f"backbone.token_layer={layer}"]
        job = run_up_to("segment", "voc2012-mini", [*common, *choice], arguments.workspace)
        bound = classification_metrics(upper_bound(overlap(job)))
        found = SegmentSummary.read(job).regions_per_image
        seconds = job.checkpoint("extract").require().seconds
        print(
            f"{size:<6} {layer:<6} {bound.miou:<17.3f} {bound.accuracy:<9.3f} {found:<18.2f} {seconds:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
