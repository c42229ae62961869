"""Stage ``embed``: computes an embedding of each region from its masked crop (section 4.1.1)."""

from __future__ import annotations

from typing import Any

from dcn.crops import Crop, crop_regions
from flows.inputs.datasets import open_dataset, read_photograph
from flows.inputs.image_index import IndexedImage, open_index
from flows.inputs.region_maps import RegionMaps
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from flows.stages.crop_embeddings import crop_size, embed_crops, embedding_width, is_read
from storage import ArraySpec, Manifest


class EmbedStage(Stage):
    """Writes ``embedding [N, k, d]`` of the masked crops of the regions that the evaluation reads.

    Without ground truth those are the foreground regions of the evaluated split. A region that does not occur
    or is not read has zeros.
    """

    name = "embed"
    version = 2

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index", "extract", "segment")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return {
            **settings.embed.model_dump(mode="json"),
            "training_split": settings.embeds_training_split,
            "background": settings.embeds_background,
        }

    def layout(self, job: Job) -> Layout:
        segment = job.checkpoint("segment").require()
        shape = (job.settings.num_regions, embedding_width(job.settings))
        arrays = (ArraySpec("embedding", shape, "float32", ("region", "channel")),)
        return Layout(segment.rows, segment.shard_rows, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        start, stop = manifest.shard_range(shard)
        segment, dataset = job.checkpoint("segment"), open_dataset(job.settings.dataset)
        maps = RegionMaps.read(job, start, stop)
        wanted = segment.array("area").rows(start, stop) > 0  # [s, k]
        if not job.settings.embeds_background:
            wanted &= segment.array("foreground").rows(start, stop)
        boxes = segment.array("box").rows(start, stop) * wanted[..., None]  # [s, k, 4]

        index = open_index(job)

        def cut(image: IndexedImage) -> dict[int, Crop]:
            row = image.row - start
            if not boxes[row].any() or not is_read(job.settings, index, image):
                return {}
            photograph = read_photograph(dataset, image)
            return crop_regions(photograph, maps.of(image), boxes[row], crop_size(job.settings))

        embedding, refused = embed_crops(job, manifest, shard, index.images(start, stop), cut)
        return ShardResult(
            {"embedding": embedding}, {"refused": refused, "regions": int(embedding.any(axis=2).sum())}
        )

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        checkpoint = job.checkpoint(self.name)
        refused = warn_of_refused(checkpoint, manifest, "has no embeddings", warn)
        regions = sum(record.info["regions"] for record in checkpoint.records(manifest))
        return {"regions": regions, "refused": refused}
