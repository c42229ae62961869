"""Stage ``embed``: computes an embedding of each region, by default from its masked crop (section 4.1.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flows.inputs.image_index import IndexedImage, open_index
from flows.inputs.region_maps import RegionMaps
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from flows.stages.crop_embeddings import embed_regions, embedding_settings, is_read, region_embedder
from storage import ArraySpec, Manifest


class EmbedStage(Stage):
    """Writes ``embedding [N, k, d]`` of the regions that the evaluation reads, before any whitening.

    Without ground truth those are the foreground regions of the evaluated split. A region that does not occur
    or is not read has zeros.
    """

    name = "embed"
    version = 5

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index", "extract", "segment")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return {
            **embedding_settings(settings),
            "training_split": settings.embeds_training_split,
            "background": settings.embeds_background,
        }

    def layout(self, job: Job) -> Layout:
        segment = job.checkpoint("segment").require()
        shape = (job.settings.num_regions, region_embedder(job.settings).width)
        arrays = (ArraySpec("embedding", shape, "float32", ("region", "channel")),)
        return Layout(segment.rows, segment.shard_rows, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        start, stop = manifest.shard_range(shard)
        maps = RegionMaps.read(job, start, stop)
        boxes = embedded_boxes(job, start, stop)  # [s, k, 4]
        index, training = open_index(job), job.settings.embeds_training_split
        images = [
            image
            for image in index.images(start, stop)
            if boxes[image.row - start].any() and is_read(index, image, training)
        ]

        def locate(image: IndexedImage) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
            return maps.of(image), boxes[image.row - start]

        embedding, refused = embed_regions(job, manifest, shard, images, locate)
        return ShardResult(
            {"embedding": embedding}, {"refused": refused, "regions": int(embedding.any(axis=2).sum())}
        )

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        checkpoint = job.checkpoint(self.name)
        refused = warn_of_refused(checkpoint, manifest, "has no embeddings", warn)
        regions = sum(record.info["regions"] for record in checkpoint.records(manifest))
        return {"regions": regions, "refused": refused}


def embedded_boxes(job: Job, start: int, stop: int) -> npt.NDArray[np.int32]:
    """Bounding boxes ``[s, k, 4]`` of the regions of some rows; zeros for a region that is not embedded."""
    segment = job.checkpoint("segment")
    wanted = segment.array("area").rows(start, stop) > 0  # [s, k]
    if not job.settings.embeds_background:
        wanted &= segment.array("foreground").rows(start, stop)
    boxes: npt.NDArray[np.int32] = segment.array("box").rows(start, stop) * wanted[..., None]
    return boxes
