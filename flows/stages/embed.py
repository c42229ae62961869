"""Stage ``embed``: what the ViT sees in each region alone (section 4.1.1)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcn.backbone import Backbone
from dcn.crops import masked_crops
from dcn.datasets import Dataset
from dcn.errors import InvalidPhotographError
from dcn.regions import label_map
from flows import progress
from flows.image_index import IndexedImage, open_index
from flows.inputs import batched, in_threads, load_backbone, open_dataset, read_photograph
from flows.region_table import region_counts
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from storage import ArraySpec, Manifest


class EmbedStage(Stage):
    """``embedding [N, k, d]`` of masked crops; zeros where a region does not occur."""

    name = "embed"

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index", "extract", "segment")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return settings.embed.model_dump(mode="json")

    def layout(self, job: Job) -> Layout:
        segment = job.checkpoint("segment").require()
        backbone = load_backbone(job.settings)
        assert job.settings.embed.size is not None
        backbone.grid(job.settings.embed.size)
        arrays = (
            ArraySpec(
                "embedding",
                (job.settings.num_regions, backbone.dim),
                "float32",
                ("region", "channel"),
            ),
        )
        return Layout(segment.rows, segment.shard_rows, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        backbone = load_backbone(job.settings)
        layer, size = job.settings.embed.layer, job.settings.embed.size
        assert layer is not None
        assert size is not None
        start, stop = manifest.shard_range(shard)
        segment = job.checkpoint("segment")
        boxes = segment.array("box").rows(start, stop)
        areas = segment.array("area").rows(start, stop)
        embedding = np.zeros((stop - start, *manifest.arrays[0].row_shape), dtype=np.float32)
        refused: list[dict[str, str]] = []
        crop = partial(
            _crop,
            backbone,
            open_dataset(job.settings.dataset),
            segment.array("assignment").rows(start, stop),
            boxes,
            start,
            size,
        )
        images = [image for image in open_index(job).images(start, stop) if areas[image.row - start].any()]
        # A photograph has up to k crops, so a few photographs fill a batch.
        for few in batched(images, job.settings.backbone.batch_size):
            crops: list[Tensor] = []
            places: list[tuple[int, int]] = []
            for image, inputs, reason in in_threads(crop, few):
                if inputs is None:
                    refused.append({"file": image.item.image, "reason": reason})
                    continue
                crops.append(inputs)
                row = image.row - start
                places.extend((row, int(region)) for region in np.flatnonzero(areas[row]))
            if crops:
                rows, regions = (list(part) for part in zip(*places, strict=True))
                embedded = [
                    backbone.embed(batch, layer)
                    for batch in torch.split(torch.cat(crops), 4 * job.settings.backbone.batch_size)
                ]
                embedding[rows, regions] = torch.cat(embedded).cpu().numpy()
            progress.advance(self.name, len(few))
        return ShardResult({"embedding": embedding}, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        refused = warn_of_refused(job.checkpoint(self.name), manifest, "has no embeddings", warn)
        return {"regions": int(region_counts(job).sum()), "refused": refused}


def _crop(
    backbone: Backbone,
    dataset: Dataset,
    assignments: npt.NDArray[np.float16],
    boxes: npt.NDArray[np.int32],
    start: int,
    size: int,
    image: IndexedImage,
) -> tuple[IndexedImage, Tensor | None, str]:
    """Masked crops ``[r, 3, size, size]`` of the regions of one photograph, or why there are none."""
    try:
        photograph = read_photograph(dataset, image)
    except InvalidPhotographError as error:
        return image, None, str(error)
    row = image.row - start
    labels = label_map(assignments[row], image.height, image.width)
    return image, masked_crops(backbone, photograph, labels, boxes[row], size), ""
