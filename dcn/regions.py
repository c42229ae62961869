"""From a soft assignment of tokens to the regions of a photograph at its own resolution (section 4.1.2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

# Pixels of one band of rows: a few values a pixel stay in the processor's cache.
_BAND_PIXELS = 1 << 16


def upsampled_bands(values: Tensor, height: int, width: int) -> Iterator[tuple[int, Tensor]]:
    """Bilinear upsampling of patch values, in bands of rows from top to bottom.

    Equal to ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` on the whole, which
    is separable: rows first, while the image is still narrow, then columns band by band.

    Args:
        values: ``[n, c]`` floating point, ``n`` a square number of patches in row-major order.
        height: of the result.
        width: of the result.

    Yields:
        First row of the band, and its values ``[c, rows, width]`` float32.

    """
    n, channels = values.shape
    side = round(n**0.5)
    grid = values.float().T.reshape(1, channels, side, side)
    tall = F.interpolate(grid, size=(height, side), mode="bilinear", align_corners=False)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = tall[:, :, top : top + rows]  # [1, c, rows, side]
        yield top, F.interpolate(band, size=(band.shape[2], width), mode="bilinear", align_corners=False)[0]


def label_map(assignment: npt.NDArray[np.float16], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Cluster of every pixel: bilinear upsampling, then argmax (section 4.1.2, equation 6).

    Args:
        assignment: ``[n, k]`` cosines of one image.

    Returns:
        ``[height, width]`` in 0 to k - 1.

    """
    labels = np.empty((height, width), dtype=np.uint8)
    for top, band in upsampled_bands(torch.from_numpy(assignment), height, width):
        _argmax(band.numpy(), labels[top : top + band.shape[1]])
    return labels


def _argmax(values: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> None:
    """``values.argmax(axis=0)`` of ``[k, rows, width]`` into ``[rows, width]``, the first of equal values.

    One channel after the other, each in vector registers: PyTorch's and NumPy's own go pixel by pixel, and
    take ten times as long.
    """
    labels.fill(0)
    largest = values[0].copy()
    for channel in range(1, len(values)):
        np.copyto(labels, np.uint8(channel), where=values[channel] > largest)
        np.maximum(largest, values[channel], out=largest)


def region_areas(labels: npt.NDArray[np.uint8], num_regions: int) -> npt.NDArray[np.int64]:
    """Pixels of each region of a label map, ``[num_regions]``."""
    # A comparison goes by vector registers; to count all regions at once goes pixel by pixel.
    return np.array([np.count_nonzero(labels == region) for region in range(num_regions)], dtype=np.int64)


def region_boxes(labels: npt.NDArray[np.uint8], num_regions: int) -> npt.NDArray[np.int32]:
    """Bounding boxes ``[num_regions, 4]``: top, left, bottom, right; the last two are exclusive.

    A region that does not occur has 0, 0, 0, 0.
    """
    boxes = np.zeros((num_regions, 4), dtype=np.int32)
    for region in range(num_regions):
        mask = labels == region
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            boxes[region] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return boxes
