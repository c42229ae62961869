"""Embeddings of the masked crops of a shard, for the stages ``embed`` and ``embed_truth`` (section 4.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.crops import Crop, masked_inputs
from dcn.errors import InvalidMaskError, InvalidPhotographError
from flows import progress
from flows.errors import name_parameters
from flows.inputs.image_index import ImageIndex, IndexedImage
from flows.inputs.models import load_backbone
from flows.inputs.parallel import batched, in_threads
from flows.settings import Settings
from flows.stage import Job
from storage import Manifest

# Cuts the regions of one photograph out of it. The crops are keyed by the number of the region.
Cut = Callable[[IndexedImage], dict[int, Crop]]
Refused = list[dict[str, str]]

# Factor between the batch sizes of crops and photographs. A crop needs less memory: only one vector is kept.
CROPS_PER_PHOTOGRAPH = 4


def embedding_width(settings: Settings) -> int:
    """Number of channels of an embedding.

    Raises:
        InvalidOptionError: the patches of the backbone do not divide a crop.

    """
    backbone = load_backbone(settings)
    with name_parameters("setting embed.size"):
        backbone.grid(crop_size(settings))
    return backbone.dim


def crop_size(settings: Settings) -> int:
    """Side of a masked crop in pixels."""
    assert settings.embed.size is not None
    return settings.embed.size


def is_read(settings: Settings, index: ImageIndex, image: IndexedImage) -> bool:
    """Whether the evaluation reads embeddings of a photograph. Only k-NN reads the training split."""
    splits = {index.summary.evaluate_split}
    if settings.embeds_training_split:
        splits.add(index.summary.train_split)
    return bool(splits.intersection(image.item.splits))


def embed_crops(
    job: Job, manifest: Manifest, shard: int, images: Iterable[IndexedImage], cut: Cut
) -> tuple[npt.NDArray[Any], Refused]:
    """Embed every region of the photographs of one shard.

    Args:
        job: the run.
        manifest: manifest of the stage. Its first array has the embeddings.
        shard: number of the shard.
        images: the photographs of the shard.
        cut: cuts the regions of one photograph; called from several threads at once. No crops for a
            photograph whose regions are not embedded.

    Returns:
        The embeddings ``[s, k, d]``, where a region without crop has zeros; and the files that ``cut``
        refused, with the reasons.

    """
    backbone, layer = load_backbone(job.settings), job.settings.embed.layer
    assert layer is not None
    start, stop = manifest.shard_range(shard)
    spec = manifest.arrays[0]
    embedding = np.zeros((stop - start, *spec.row_shape), dtype=spec.dtype)  # [s, k, d]
    refused: Refused = []

    def regions() -> Iterator[tuple[int, int, Crop]]:
        """List row, region and crop of each region. Threads cut crops while the model embeds others."""
        for image, crops, refusal in in_threads(partial(_attempt, cut), images):
            refused.extend(refusal)
            yield from ((image.row - start, region, crop) for region, crop in crops.items())
            progress.advance(manifest.stage, 1)

    for batch in batched(regions(), CROPS_PER_PHOTOGRAPH * job.settings.backbone.batch_size):
        rows, numbers, crops = (list(part) for part in zip(*batch, strict=True))
        embedding[rows, numbers] = backbone.embed(masked_inputs(backbone, crops), layer).cpu().numpy()
    return embedding, refused


def _attempt(cut: Cut, image: IndexedImage) -> tuple[IndexedImage, dict[int, Crop], Refused]:
    """Cut the regions of one photograph. Returns the refused file, too, if one cannot be read any more."""
    try:
        return image, cut(image), []
    except InvalidPhotographError as error:
        return image, {}, [{"file": image.item.image, "reason": str(error)}]
    except InvalidMaskError as error:
        return image, {}, [{"file": image.item.mask or image.item.id, "reason": str(error)}]
