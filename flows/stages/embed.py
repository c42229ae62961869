"""Stage ``embed``: computes an embedding of each region from its masked crop (section 4.1.1)."""

from __future__ import annotations

from typing import Any

from dcn.crops import Crop, crop_regions
from flows.inputs.datasets import open_dataset, read_photograph
from flows.inputs.image_index import IndexedImage, open_index
from flows.inputs.region_counts import region_counts
from flows.inputs.region_maps import RegionMaps
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from flows.stages.crop_embeddings import crop_size, embed_crops, embedding_width
from storage import ArraySpec, Manifest


class EmbedStage(Stage):
    """Writes ``embedding [N, k, d]`` of masked crops. A region that does not occur has zeros."""

    name = "embed"

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index", "extract", "segment")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return settings.embed.model_dump(mode="json")

    def layout(self, job: Job) -> Layout:
        segment = job.checkpoint("segment").require()
        shape = (job.settings.num_regions, embedding_width(job.settings))
        arrays = (ArraySpec("embedding", shape, "float32", ("region", "channel")),)
        return Layout(segment.rows, segment.shard_rows, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        start, stop = manifest.shard_range(shard)
        segment, dataset = job.checkpoint("segment"), open_dataset(job.settings.dataset)
        boxes = segment.array("box").rows(start, stop)
        areas = segment.array("area").rows(start, stop)
        maps = RegionMaps.read(job, start, stop)

        def cut(image: IndexedImage) -> dict[int, Crop]:
            photograph, row = read_photograph(dataset, image), image.row - start
            return crop_regions(photograph, maps.of(image), boxes[row], crop_size(job.settings))

        images = [image for image in open_index(job).images(start, stop) if areas[image.row - start].any()]
        embedding, refused = embed_crops(job, manifest, shard, images, cut)
        return ShardResult({"embedding": embedding}, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        refused = warn_of_refused(job.checkpoint(self.name), manifest, "has no embeddings", warn)
        return {"regions": int(region_counts(job).sum()), "refused": refused}
