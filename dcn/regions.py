"""Regions of a photograph at its own resolution, from the soft assignment of its tokens (section 4.1.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dcn.images.bands import bands

if TYPE_CHECKING:
    from torch import Tensor

# Pixels in one band of rows. A few values for each of them stay in the processor's cache.
_BAND_PIXELS = 1 << 16


def upsampled_bands(values: Tensor, height: int, width: int) -> Iterator[tuple[int, Tensor]]:
    """Upsample patch values bilinearly, in bands of rows from top to bottom.

    The result equals ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` of the whole
    grid. The interpolation is separable: first the rows, while the image is still narrow, then the columns,
    band by band.

    Args:
        values: ``[n, c]`` floating point, ``n`` a square number of patches in row-major order.
        height: height of the result in pixels.
        width: width of the result in pixels.

    Yields:
        First row of the band, and its values ``[c, rows, width]`` float32.

    """
    import torch.nn.functional as F  # masks and areas need no PyTorch

    n, channels = values.shape
    side = round(n**0.5)
    grid = values.float().T.reshape(1, channels, side, side)
    tall = F.interpolate(grid, size=(height, side), mode="bilinear", align_corners=False)
    for band in bands(height, width, _BAND_PIXELS):
        rows = tall[:, :, band]  # [1, c, rows, side]
        size = (rows.shape[2], width)
        yield band.start, F.interpolate(rows, size=size, mode="bilinear", align_corners=False)[0]


def label_map(assignment: npt.NDArray[np.floating], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Compute the region of every pixel: upsample bilinearly, then argmax (section 4.1.2, equation 6).

    Args:
        assignment: ``[n, k]`` soft assignment of one image, ``n`` a square number of patches in row-major
            order.
        height: height of the photograph in pixels.
        width: width of the photograph in pixels.

    Returns:
        ``[height, width]`` in 0 to k - 1; the first of equal values wins.

    Example:
        >>> assignment = np.eye(4, dtype=np.float16)  # 2 x 2 patches, each of its own region
        >>> label_map(assignment, height=2, width=4)
        array([[0, 0, 1, 1],
               [2, 2, 3, 3]], dtype=uint8)

    """
    import torch

    labels = np.empty((height, width), dtype=np.uint8)
    for top, band in upsampled_bands(torch.from_numpy(assignment), height, width):
        _argmax(band.numpy(), labels[top : top + band.shape[1]])
    return labels


def possible_labels(assignment: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Select the regions that can have a pixel: ``[c]`` of an assignment ``[n, k]``, in ascending order.

    Between four patches a value lies between the least and the largest of theirs. So a region has no pixel
    there if its largest value is below the least value of another region. A head has many such clusters.
    """
    n, k = assignment.shape
    side = round(n**0.5)
    grid = np.pad(assignment.reshape(side, side, k), ((0, 1), (0, 1), (0, 0)), mode="edge")
    corners = [grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]]
    largest, least = np.maximum.reduce(corners), np.minimum.reduce(corners)  # [side, side, k]
    possible = (largest >= least.max(axis=2, keepdims=True)).any(axis=(0, 1))  # [k]
    return np.flatnonzero(possible).astype(np.uint8)


def resize_label_map(labels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Bring a square label map to the size of a photograph.

    The membership of each region, 0 or 1, is interpolated bilinearly; the largest wins. So the borders become
    lines rather than steps if the photograph is larger than the map.

    Args:
        labels: square label map ``[S, S]``.
        height: height of the photograph in pixels.
        width: width of the photograph in pixels.

    Returns:
        ``[height, width]``; the smallest of equal regions wins.

    Example:
        >>> resize_label_map(np.array([[3, 3], [3, 7]], dtype=np.uint8), height=2, width=4)
        array([[3, 3, 3, 3],
               [3, 3, 7, 7]], dtype=uint8)

    """
    left, right, across = _neighbors(len(labels), width)  # [W] each
    upper, lower, down = _neighbors(len(labels), height)  # [H] each
    resized = np.empty((height, width), dtype=np.uint8)
    for band in bands(height, width, _BAND_PIXELS):
        rows = labels[upper[band]], labels[lower[band]]  # [rows, S] each
        corners = [row[:, columns] for row in rows for columns in (left, right)]  # four of [rows, W]
        resized[band] = first = corners[0]
        border = np.nonzero(np.logical_or.reduce([corner != first for corner in corners[1:]]))  # m pixels
        found = np.stack([corner[border] for corner in corners])  # [4, m]
        below, beyond = down[band][border[0]], across[border[1]]
        shares = [y * x for y in (2 * height - below, below) for x in (2 * width - beyond, beyond)]
        total = ((found[:, None] == found) * np.stack(shares)).sum(axis=1)  # [4, m] of each corner's region
        resized[band][border] = np.where(total == total.max(axis=0), found, 255).min(axis=0)
    return resized


def _neighbors(
    count: int, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each of ``size`` pixels, find the two of ``count`` values between which it lies.

    Returns:
        ``[size]`` place of the first and of the second, and the share of the second times ``2 size``. The
        shares are whole numbers, so equal ones are equal to the bit.

    """
    place = np.maximum((2 * np.arange(size) + 1) * count - size, 0)  # times 2 size
    first, share = np.divmod(place, 2 * size)
    return first, np.minimum(first + 1, count - 1), share


def occurring_labels(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Collect the labels that occur in a label map, in ascending order: ``[c]``."""
    return np.flatnonzero(np.bincount(labels.ravel())).astype(np.uint8)


def _argmax(values: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> None:
    """Write ``values.argmax(axis=0)`` of ``[k, rows, width]`` into ``labels [rows, width]``.

    One channel after the other, each in vector registers: argmax of PyTorch and of NumPy goes pixel by
    pixel and takes ten times as long.
    """
    labels.fill(0)
    largest = values[0].copy()
    for channel in range(1, len(values)):
        np.copyto(labels, np.uint8(channel), where=values[channel] > largest)
        np.maximum(largest, values[channel], out=largest)


def region_areas(labels: npt.NDArray[np.uint8], num_regions: int) -> npt.NDArray[np.int64]:
    """Count the pixels of each region in a label map.

    Args:
        labels: label map ``[H, W]``.
        num_regions: number of regions ``k``.

    Returns:
        ``[k]`` area in pixels; 0 for a region that does not occur.

    """
    # A comparison uses vector registers; counting all regions at once goes pixel by pixel.
    return np.array([np.count_nonzero(labels == region) for region in range(num_regions)], dtype=np.int64)


def region_boxes(labels: npt.NDArray[np.uint8], num_regions: int) -> npt.NDArray[np.int32]:
    """Find the bounding box of each region in a label map.

    Args:
        labels: label map ``[H, W]``.
        num_regions: number of regions ``k``.

    Returns:
        ``[k, 4]`` top, left, bottom, right in pixels; bottom and right are exclusive. A region that does
        not occur has 0, 0, 0, 0.

    """
    boxes = np.zeros((num_regions, 4), dtype=np.int32)
    for region in range(num_regions):
        mask = labels == region
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            boxes[region] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return boxes
