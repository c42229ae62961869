"""Masked crops: a region alone, as an input of the ViT (section 4.1.1 and 4.1.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from dcn.backbone import Backbone, squash


def masked_crops(
    backbone: Backbone,
    photograph: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.int32],
    size: int,
) -> Tensor:
    """Crop by the box, resize, normalize, and only then set to zero what is outside the region.

    Args:
        photograph: ``[H, W, 3]``.
        labels: label map ``[H, W]``.
        boxes: ``[k, 4]`` of :func:`dcn.regions.region_boxes`.
        size: side of the square crop in pixels.

    Returns:
        ``[r, 3, size, size]`` float32, one for each of the ``r`` regions that occur, in their order.

    """
    crops, masks = [], []
    for region in np.flatnonzero(boxes[:, 2] > boxes[:, 0]):
        top, left, bottom, right = boxes[region]
        crops.append(squash(photograph[top:bottom, left:right], size))
        mask = Image.fromarray(labels[top:bottom, left:right] == region)
        masks.append(np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)))
    inputs = backbone.preprocess(np.stack(crops))  # [r, 3, size, size]
    return inputs * torch.from_numpy(np.stack(masks)).to(inputs.device)[:, None]
