"""Crops of regions, masked or not, as inputs of the ViT (sections 4.1.1 and 4.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.embedding_sources import CROP_VIEWS, CropView
from dcn.images.photograph import squash

if TYPE_CHECKING:
    from torch import Tensor

    from dcn.backbone import Backbone


@dataclass(frozen=True)
class Crop:
    """One region, cut out of its photograph by its bounding box and resized.

    Attributes:
        pixels: ``[size, size, 3]`` uint8 RGB.
        inside: ``[size, size]`` bool, True for the pixels that the ViT sees: those inside the region, or all
            of them. Some pixel is True.

    """

    pixels: npt.NDArray[np.uint8]
    inside: npt.NDArray[np.bool_]


def crop_regions(
    photograph: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.int32],
    size: int,
    view: CropView = CROP_VIEWS["crop"],
) -> dict[int, Crop]:
    """Crop every region of a photograph by its bounding box (section 4.1.2).

    A region of few pixels in a large box can lose all of them when its mask is resized. Then those pixels of
    the crop are inside on which a pixel of the region falls.

    Args:
        photograph: ``[H, W, 3]`` uint8 RGB.
        labels: label map ``[H, W]``, the region of each pixel.
        boxes: ``[k, 4]`` bounding boxes from :func:`dcn.regions.region_boxes`.
        size: side of the square crops in pixels.
        view: mask and margin of the crops; the default is that of the paper.

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
        top, left, bottom, right = _with_margin(boxes[region], view.margin, labels.shape)
        mask = labels[top:bottom, left:right] == region
        inside = _resized_mask(mask, size) if view.masked else np.ones((size, size), dtype=np.bool_)
        crops[region] = Crop(squash(photograph[top:bottom, left:right], size), inside)
    return crops


def _with_margin(
    box: npt.NDArray[np.int32], margin: float, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Widen a bounding box by a share of its height and width on each side, within the photograph."""
    top, left, bottom, right = box.tolist()
    rows, columns = round((bottom - top) * margin), round((right - left) * margin)
    return (
        max(0, top - rows),
        max(0, left - columns),
        min(shape[0], bottom + rows),
        min(shape[1], right + columns),
    )


def _resized_mask(mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """Resize a mask ``[h, w]`` in which some pixel is True to ``[size, size]``, where some pixel is, too."""
    resized = np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
    if not resized.any():
        rows, columns = np.nonzero(mask)
        resized[rows * size // mask.shape[0], columns * size // mask.shape[1]] = True
    return resized


def patches_inside(crops: Sequence[Crop], patch_size: int) -> npt.NDArray[np.bool_]:
    """Find the patches that touch the region of each crop.

    Args:
        crops: ``B`` crops of one size, a multiple of the patch size.
        patch_size: side of a patch in pixels.

    Returns:
        ``[B, n]``, patches in row-major order. At least one patch of each crop is True.

    """
    inside = np.stack([crop.inside for crop in crops])  # [B, size, size]
    side = inside.shape[1] // patch_size
    patches = inside.reshape(len(crops), side, patch_size, side, patch_size)
    touched: npt.NDArray[np.bool_] = patches.any(axis=(2, 4)).reshape(len(crops), side * side)  # [B, n]
    return touched


def masked_inputs(backbone: Backbone, crops: Sequence[Crop]) -> Tensor:
    """Normalize crops, then set the pixels that are not inside to zero (section 4.1.2).

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
