"""Masked crops: each region alone, as an input of the ViT (sections 4.1.1 and 4.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.images.photograph import squash

if TYPE_CHECKING:
    from torch import Tensor

    from dcn.backbone import Backbone


@dataclass(frozen=True)
class Crop:
    """One region, cut out of its photograph by its bounding box and resized.

    Attributes:
        pixels: ``[size, size, 3]`` uint8 RGB.
        inside: ``[size, size]`` bool, True inside the region.

    """

    pixels: npt.NDArray[np.uint8]
    inside: npt.NDArray[np.bool_]


def crop_regions(
    photograph: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.int32],
    size: int,
) -> dict[int, Crop]:
    """Crop every region of a photograph by its bounding box (section 4.1.2).

    Args:
        photograph: ``[H, W, 3]`` uint8 RGB.
        labels: label map ``[H, W]``, the region of each pixel.
        boxes: ``[k, 4]`` bounding boxes from :func:`dcn.regions.region_boxes`.
        size: side of the square crops in pixels.

    Returns:
        The crop of each region that occurs, by region in ascending order.

    Example:
        >>> from dcn.regions import region_boxes
        >>> labels = np.array([[0, 0, 2], [0, 0, 2]], dtype=np.uint8)
        >>> crops = crop_regions(np.zeros((2, 3, 3), np.uint8), labels, region_boxes(labels, 3), size=224)
        >>> [(region, crop.pixels.shape) for region, crop in crops.items()]
        [(0, (224, 224, 3)), (2, (224, 224, 3))]

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
    """Normalize crops, then set the pixels outside each region to zero (section 4.1.2).

    Args:
        backbone: the backbone that will embed the crops.
        crops: ``B`` crops of one size.

    Returns:
        ``[B, 3, size, size]``, an input of :meth:`dcn.backbone.Backbone.embed`.

    """
    import torch

    inputs = backbone.preprocess(np.stack([crop.pixels for crop in crops]))
    inside = torch.from_numpy(np.stack([crop.inside for crop in crops])).to(inputs.device)  # [B, size, size]
    return inputs * inside[:, None]
