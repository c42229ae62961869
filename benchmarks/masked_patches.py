"""Embeddings of masked crops: the last block for CLS alone, and without masked patches, against all of both.

    python -m benchmarks.masked_patches [--pairs 3] [--json FILE]

The crops are those of the true regions of the sample photographs, at 224 pixels, by focus-s14 with its own
weights. The reference computes all tokens of all patches up to the block whose CLS token is read, as timm
does. Each row has the cosines of its embeddings with those of the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.pairs import measure_pairs
from benchmarks.row import Row
from benchmarks.stage_command import run_command
from dcn.backbone import Backbone
from dcn.crops import Crop, crop_regions, masked_inputs, patches_inside
from dcn.datasets import SampleOptions
from dcn.images.files import read_file
from dcn.images.photograph import decode_photograph
from dcn.model_description import EmbeddingDescription
from dcn.region_embedder import RegionEmbedder, RegionViews
from dcn.regions import region_boxes
from dcn.weights.presets import Precision

Vectors = npt.NDArray[np.float32]
_BATCH = 32


def measure(_: Path, __: int, pairs: int, precision: Precision) -> list[Row]:
    """Crops in memory in, embeddings out; normalizing and masking are a part of each side."""
    backbone, preset = Backbone.from_preset("focus-s14", precision=precision)
    crops = sample_crops(preset.embedding_size)
    layer = preset.embedding_layer
    description = EmbeddingDescription(layer=layer, size=preset.embedding_size)
    regions = [RegionViews((crop,), None) for crop in crops]

    def embed(dropped: bool) -> Vectors:
        chosen = description.model_copy(update={"drop_masked": dropped})
        return RegionEmbedder(backbone, chosen).embed(regions, _BATCH)

    def whole() -> Vectors:
        batches = [crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)]
        return np.concatenate([_whole_blocks(backbone, batch, layer) for batch in batches])

    share = float(patches_inside(crops, backbone.patch_size).mean())
    names = f"embeddings of masked crops, {precision}"
    return [
        _row(f"{names}: last block for CLS alone", whole, lambda: embed(False), pairs, 1.0, {}),
        _row(
            f"{names}: embed.drop_masked", whole, lambda: embed(True), pairs, 2.0,
            {"crops": len(crops), "share of patches that touch their region": share},
        ),
    ]  # fmt: skip


def sample_crops(size: int) -> list[Crop]:
    """Masked crops of all true regions of the sample, background among them."""
    dataset = SampleOptions().open()
    crops: list[Crop] = []
    for item in dataset.items():
        photograph = decode_photograph(read_file(dataset.root / item.image))
        mask = dataset.read_mask(item, *photograph.shape[:2])
        boxes = region_boxes(mask, len(dataset.class_names))
        crops.extend(crop_regions(photograph, mask, boxes, size).values())
    return crops


@torch.inference_mode()
def _whole_blocks(backbone: Backbone, crops: list[Crop], layer: int) -> Vectors:
    outputs = backbone.model.forward_intermediates(
        masked_inputs(backbone, crops),
        indices=[backbone.depth + layer],
        return_prefix_tokens=True,
        norm=True,
        stop_early=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    prefix = cast(list[tuple[Tensor, Tensor]], outputs)[0][1]  # [B, prefix, d]
    return prefix[:, 0].float().numpy()


def _row(
    what: str,
    reference: Callable[[], Vectors],
    candidate: Callable[[], Vectors],
    pairs: int,
    goal: float,
    more: dict[str, float],
) -> Row:
    ratio, details = measure_pairs(reference, candidate, pairs)
    one, other = (torch.from_numpy(vectors()).double() for vectors in (reference, candidate))
    cosines = torch.nn.functional.cosine_similarity(one, other, dim=1)
    nearness = {"least cosine": float(cosines.min()), "mean cosine": float(cosines.mean())}
    details |= {"largest difference": float((one - other).abs().max()), **nearness, **more}
    return Row(what, "all tokens of all patches", ratio, "times as fast", goal, details=details)


if __name__ == "__main__":
    run_command(__doc__, measure, images=8, pairs=3)
