"""Stage ``embed``: computes an embedding of each region from its masked crop (section 4.1.1)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.crops import Crop, crop_regions, masked_inputs
from dcn.datasets import Dataset
from dcn.errors import InvalidPhotographError
from flows import progress
from flows.errors import name_parameters
from flows.inputs.datasets import open_dataset, read_photograph
from flows.inputs.image_index import IndexedImage, open_index
from flows.inputs.models import load_backbone
from flows.inputs.parallel import batched, in_threads
from flows.inputs.region_counts import region_counts
from flows.inputs.region_maps import RegionMaps
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from storage import ArraySpec, Manifest

# Factor between the batch sizes of crops and photographs. A crop needs less memory: only one vector is kept.
CROPS_PER_PHOTOGRAPH = 4


class EmbedStage(Stage):
    """Writes ``embedding [N, k, d]`` of masked crops. A region that does not occur has zeros."""

    name = "embed"

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index", "extract", "segment")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return settings.embed.model_dump(mode="json")

    def layout(self, job: Job) -> Layout:
        segment = job.checkpoint("segment").require()
        backbone = load_backbone(job.settings)
        assert job.settings.embed.size is not None
        with name_parameters("setting embed.size"):
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
            open_dataset(job.settings.dataset),
            RegionMaps.read(job, start, stop),
            boxes,
            size,
        )
        images = [image for image in open_index(job).images(start, stop) if areas[image.row - start].any()]

        def regions() -> Iterator[tuple[int, int, Crop]]:
            """List row, region and crop of each region. Threads cut crops while the model embeds others."""
            for image, crops, reason in in_threads(crop, images):
                if reason:
                    refused.append({"file": image.item.image, "reason": reason})
                yield from ((image.row - start, region, cut) for region, cut in crops.items())
                progress.advance(self.name, 1)

        for batch in batched(regions(), CROPS_PER_PHOTOGRAPH * job.settings.backbone.batch_size):
            rows, numbers, crops = (list(part) for part in zip(*batch, strict=True))
            embedding[rows, numbers] = backbone.embed(masked_inputs(backbone, crops), layer).cpu().numpy()
        return ShardResult({"embedding": embedding}, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        refused = warn_of_refused(job.checkpoint(self.name), manifest, "has no embeddings", warn)
        return {"regions": int(region_counts(job).sum()), "refused": refused}


def _crop(
    dataset: Dataset,
    maps: RegionMaps,
    boxes: npt.NDArray[np.int32],
    size: int,
    image: IndexedImage,
) -> tuple[IndexedImage, dict[int, Crop], str]:
    """Crop the regions of one photograph. Returns the reason, too, if it cannot be read."""
    try:
        photograph = read_photograph(dataset, image)
    except InvalidPhotographError as error:
        return image, {}, str(error)
    return image, crop_regions(photograph, maps.of(image), boxes[image.row - maps.start], size), ""
