"""Stage ``segment``: the regions of every photograph, and which of them are foreground (3.2, 4.1.2)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcn.foreground import foreground_regions, reduce_heads, region_scores
from dcn.model_file import load_model
from dcn.modularity import cosine_assignment
from dcn.regions import label_map, region_areas, region_boxes
from flows import progress
from flows.image_index import IndexedImage, open_index
from flows.inputs import batched, choose_device, in_threads
from flows.settings import SegmentSettings, Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn
from storage import ArraySpec, Manifest


class SegmentStage(Stage):
    """``assignment [N, n, k]``, ``area``, ``box``, ``foreground_score`` and ``foreground`` of ``[N, k]``.

    Areas and boxes are in pixels of the original photograph. A region that does not occur has area 0.
    """

    name = "segment"
    reads = ("index", "extract", "train")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return settings.segment.model_dump(mode="json")

    def layout(self, job: Job) -> Layout:
        extract = job.checkpoint("extract").require()
        n, k = extract.summary["tokens_per_image"], job.settings.train.num_prototypes
        arrays = (
            ArraySpec("assignment", (n, k), "float16", ("patch", "region")),
            ArraySpec("area", (k,), "int64", ("region",)),
            ArraySpec("box", (k, 4), "int32", ("region", "top_left_bottom_right")),
            ArraySpec("foreground_score", (k,), "float32", ("region",)),
            ArraySpec("foreground", (k,), "bool", ("region",)),
        )
        return Layout(extract.rows, extract.shard_rows, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        device = choose_device(job.settings.backbone.device)
        network = load_model(job.checkpoint("train").files / "dcn.safetensors")[0].to(device)
        start, stop = manifest.shard_range(shard)
        extract = job.checkpoint("extract")
        tokens = extract.array("tokens").rows(start, stop)
        assignments: list[npt.NDArray[np.float16]] = []
        for rows in batched(range(stop - start), job.settings.backbone.batch_size):
            batch = torch.from_numpy(tokens[rows[0] : rows[-1] + 1]).to(device).float()  # [B, n, d]
            with torch.inference_mode():
                soft = cosine_assignment(batch, network(batch))  # [B, n, k]
            assignments.append(soft.half().cpu().numpy())
        assignment = np.concatenate(assignments)

        attention = extract.array("attention").rows(start, stop)
        present = extract.array("present").rows(start, stop)
        arrays = {
            spec.name: np.zeros((stop - start, *spec.row_shape), dtype=spec.dtype) for spec in manifest.arrays
        }
        arrays["assignment"] = assignment
        describe = partial(_describe, job.settings.segment, assignment, attention, start)
        images = (image for image in open_index(job).images(start, stop) if present[image.row - start])
        for row, described in in_threads(describe, images):
            for name, values in described.items():
                arrays[name][row] = values
            progress.advance(self.name, 1)
        return ShardResult(arrays)

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        area, foreground = (
            job.checkpoint(self.name).array(name).rows(0, manifest.rows) for name in ("area", "foreground")
        )
        images = (area > 0).any(axis=1).sum()
        return {
            "images": int(images),
            "regions_per_image": float((area > 0).sum() / images),
            "foreground_regions_per_image": float(foreground.sum() / images),
        }


def _describe(
    settings: SegmentSettings,
    assignment: npt.NDArray[np.float16],
    attention: npt.NDArray[np.float16],
    start: int,
    image: IndexedImage,
) -> tuple[int, dict[str, npt.NDArray[Any]]]:
    """Row in the shard, and area, box and foreground of the regions of one photograph."""
    assert settings.attention_reduction is not None
    assert settings.region_score is not None
    row = image.row - start
    k = assignment.shape[2]
    labels = label_map(assignment[row], image.height, image.width)
    area = region_areas(labels, k)
    pixels = reduce_heads(torch.from_numpy(attention[row]).float(), settings.attention_reduction)
    scores = region_scores(pixels, labels, k, settings.region_score)
    return row, {
        "area": area,
        "box": region_boxes(labels, k),
        "foreground_score": scores,
        "foreground": foreground_regions(scores, area),
    }
