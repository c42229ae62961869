"""Masked crops: a region alone, as an input of the ViT (section 4.1.1 and 4.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from dcn.images.photograph import squash

if TYPE_CHECKING:
    from dcn.backbone import Backbone


@dataclass(frozen=True)
class Crop:
    """One region, cut out by its box and resized.

    Attributes:
        pixels: ``[size, size, 3]``.
        inside: ``[size, size]``, where the region is.

    """

    pixels: npt.NDArray[np.uint8]
    inside: npt.NDArray[np.bool_]


def crop_regions(
    photograph: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.int32],
    size: int,
) -> dict[int, Crop]:
    """Crop the regions of one photograph.

    Args:
        photograph: ``[H, W, 3]``.
        labels: label map ``[H, W]``.
        boxes: ``[k, 4]`` of :func:`dcn.regions.region_boxes`.
        size: side of the square crop in pixels.

    Returns:
        The crop of every region that occurs, in their order.

    """
    crops = {}
    for region in np.flatnonzero(boxes[:, 2] > boxes[:, 0]).tolist():
        top, left, bottom, right = boxes[region]
        mask = Image.fromarray(labels[top:bottom, left:right] == region)
        crops[region] = Crop(
            squash(photograph[top:bottom, left:right], size),
            np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)),
        )
    return crops


def masked_inputs(backbone: Backbone, crops: Sequence[Crop]) -> Tensor:
    """Normalize crops, and only then set to zero what is outside the region: ``[B, 3, size, size]``."""
    inputs = backbone.preprocess(np.stack([crop.pixels for crop in crops]))
    inside = torch.from_numpy(np.stack([crop.inside for crop in crops])).to(inputs.device)  # [B, size, size]
    return inputs * inside[:, None]
