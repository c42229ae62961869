"""Embeddings of the regions of a shard, for the stages ``embed`` and ``embed_truth`` (section 4.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.model_description import EmbeddingDescription
from dcn.region_embedder import RegionEmbedder, RegionViews
from flows import progress
from flows.errors import name_parameters
from flows.inputs.datasets import open_dataset, read_photograph
from flows.inputs.image_index import ImageIndex, IndexedImage
from flows.inputs.models import load_backbone
from flows.inputs.parallel import batched, in_threads
from flows.inputs.tokens.shard_tokens import read_tokens
from flows.settings import Settings
from flows.stage import Job
from storage import Manifest

# Finds the label map [H, W] of one photograph and the bounding boxes [k, 4] of its regions that are embedded.
Locate = Callable[[IndexedImage], tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]]
Refused = list[dict[str, str]]

# Factor between the batch sizes of crops and photographs. A crop needs less memory: only one vector is kept.
CROPS_PER_PHOTOGRAPH = 4


def embedding_settings(settings: Settings) -> dict[str, Any]:
    """Select the settings of the embeddings that are in the checkpoint of a stage, as JSON."""
    return settings.embed.model_dump(mode="json", exclude={"whiten"})


def embedding_description(settings: Settings) -> EmbeddingDescription:
    """Describe the embeddings of resolved settings."""
    return EmbeddingDescription.model_validate(embedding_settings(settings))


def region_embedder(settings: Settings) -> RegionEmbedder:
    """Load the backbone of a run, to embed regions with it.

    Raises:
        InvalidOptionError: the patches of the backbone do not divide a crop.

    """
    embedder = RegionEmbedder(load_backbone(settings), embedding_description(settings))
    with name_parameters("setting embed.size"):
        embedder.backbone.grid(embedder.description.size)
    return embedder


def is_read(index: ImageIndex, image: IndexedImage, training_split: bool) -> bool:
    """Whether embeddings of a photograph are read: it is evaluated, or in a training split that is read."""
    splits = {index.summary.evaluate_split}
    if training_split:
        splits.add(index.summary.train_split)
    return bool(splits.intersection(image.item.splits))


def embed_regions(
    job: Job, manifest: Manifest, shard: int, images: Iterable[IndexedImage], locate: Locate
) -> tuple[npt.NDArray[Any], Refused]:
    """Embed regions of the photographs of one shard.

    Args:
        job: the run.
        manifest: manifest of the stage. Its first array has the embeddings.
        shard: number of the shard.
        images: those photographs of the shard that have regions to embed.
        locate: finds the regions of one photograph; called from several threads at once.

    Returns:
        The embeddings ``[s, k, d]``, where a region without box has zeros; and the files that could not be
        read, with the reasons.

    """
    embedder, dataset, chosen = (
        region_embedder(job.settings),
        open_dataset(job.settings.dataset),
        list(images),
    )
    described = embedder.description
    start, stop = manifest.shard_range(shard)
    spec = manifest.arrays[0]
    embedding = np.zeros((stop - start, *spec.row_shape), dtype=spec.dtype)  # [s, k, d]
    refused: Refused = []
    tokens = (
        read_tokens(job, start, stop, chosen, described.token_layer) if described.needs_tokens else None
    )  # [s, n, d]

    def views(image: IndexedImage) -> dict[int, RegionViews]:
        labels, boxes = locate(image)
        photograph = read_photograph(dataset, image) if described.needs_photograph else None
        own = None if tokens is None else tokens[image.row - start]
        return embedder.views(photograph, labels, boxes, own)

    def regions() -> Iterator[tuple[int, int, RegionViews]]:
        """List row, region and views of each region. Threads cut crops while the model embeds others."""
        for image, found, refusal in in_threads(partial(_attempt, views), chosen):
            refused.extend(refusal)
            yield from ((image.row - start, region, view) for region, view in found.items())
            progress.advance(manifest.stage, 1)

    progress.advance(manifest.stage, stop - start - len(chosen))
    batch_size = CROPS_PER_PHOTOGRAPH * job.settings.backbone.batch_size
    for batch in batched(regions(), embedder.batch_size(batch_size)):
        rows, numbers, found = (list(part) for part in zip(*batch, strict=True))
        embedding[rows, numbers] = embedder.embed(found, batch_size)
    return embedding, refused


def _attempt(
    views: Callable[[IndexedImage], dict[int, RegionViews]], image: IndexedImage
) -> tuple[IndexedImage, dict[int, RegionViews], Refused]:
    """Cut the regions of one photograph. Returns the refused file, too, if one cannot be read any more."""
    try:
        return image, views(image), []
    except InvalidPhotographError as error:
        return image, {}, [{"file": image.item.image, "reason": str(error)}]
    except InvalidMaskError as error:
        return image, {}, [{"file": image.item.mask or image.item.id, "reason": str(error)}]
