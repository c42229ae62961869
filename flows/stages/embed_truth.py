"""Stage ``embed_truth``: computes an embedding of each true region, as ``embed`` does of each found one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.regions import region_boxes
from flows.errors import InvalidSettingsError
from flows.inputs.datasets import open_dataset, read_mask
from flows.inputs.image_index import IndexedImage, open_index
from flows.inputs.models import backbone_identity
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from flows.stages.crop_embeddings import (
    embed_regions,
    embedding_settings,
    is_read,
    region_embedder,
)
from storage import ArraySpec, Manifest


class EmbedTruthStage(Stage):
    """Writes ``embedding [N, C, d]``: the true region ``c`` is all pixels of class ``c`` of a photograph.

    So the mask is the label map of the true regions. The background is a region too, and ignored pixels are
    in none. A class that does not occur has zeros, and so have photographs without ground truth, or in a
    split that is not read. Nothing here depends on ``train`` or ``segment``: all segmenters of a comparison
    share one checkpoint. The embeddings are those before any whitening.
    """

    name = "embed_truth"
    version = 4
    always_in_key = frozenset({"backbone"})

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        tokens = ("extract",) if "tokens" in settings.embed.source else ()
        return ("index", *tokens)

    def settings(self, settings: Settings) -> dict[str, Any]:
        return {
            **backbone_identity(settings),
            **embedding_settings(settings),
            "training_split": settings.classifies_by_neighbors,
        }

    def layout(self, job: Job) -> Layout:
        index = open_index(job)
        if not index.class_names:
            raise InvalidSettingsError(
                "the stage embed_truth needs masks with classes, and this data set has none; set "
                "evaluate.true_regions to false"
            )
        shape = (len(index.class_names), region_embedder(job.settings).width)
        # Most rows are zeros, so half the precision of embed halves the largest array of the evaluation.
        arrays = (ArraySpec("embedding", shape, "float16", ("class", "channel")),)
        return Layout(len(index), job.settings.shard_images, arrays)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        start, stop = manifest.shard_range(shard)
        dataset, classes = open_dataset(job.settings.dataset), manifest.arrays[0].row_shape[0]
        index, training = open_index(job), job.settings.classifies_by_neighbors
        images = [
            image for image in index.images(start, stop) if image.labelled and is_read(index, image, training)
        ]

        def locate(image: IndexedImage) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
            mask = read_mask(dataset, image)
            assert mask is not None
            return mask, region_boxes(mask, classes)

        embedding, refused = embed_regions(job, manifest, shard, images, locate)
        regions = int(embedding.any(axis=2).sum())
        return ShardResult({"embedding": embedding}, {"refused": refused, "regions": regions})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        checkpoint = job.checkpoint(self.name)
        refused = warn_of_refused(checkpoint, manifest, "gives no embeddings of true regions", warn)
        regions = sum(record.info["regions"] for record in checkpoint.records(manifest))
        return {"regions": regions, "refused": refused}
