"""Rims: regions that follow the boundary of an object and are no part of it.

A patch on a boundary shows two objects, so its token lies between theirs. A segmenter that gives such tokens
a region of their own draws a rim around the object, which is one or two patches wide.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from dcn.evaluation.best_overlap import overlaps
from dcn.evaluation.boundaries import UNLABELLED, boundaries, fill_unlabelled


def rims(
    labels: npt.NDArray[np.uint8], truth: npt.NDArray[np.int32], table: npt.NDArray[np.int64], side: int
) -> npt.NDArray[np.bool_]:
    """Find the regions of one image that are rims.

    A rim has more than half of its labelled pixels within one patch of a true boundary, and it is the best
    region of no true region. The second condition spares the region of a small or thin object, which is near
    a boundary everywhere.

    Args:
        labels: ``[H, W]`` label map of the regions, 0 to k - 1.
        truth: ``[H, W]`` true regions; ``UNLABELLED`` of :mod:`dcn.evaluation.boundaries` marks a pixel
            without a label.
        table: ``[T, k]`` labelled pixels that each true region shares with each region.
        side: number of patches along one side of the squashed image. A patch has ``H / side`` x ``W / side``
            pixels, rounded down; nearness is measured along rows and columns.

    Returns:
        ``[k]`` whether a region is a rim; False for a region without a labelled pixel.

    """
    near = boundaries(fill_unlabelled(truth)).astype(np.uint8)  # [H, W]
    for axis, size in enumerate(labels.shape):
        maximum_filter1d(near, 2 * (size // side) + 1, axis=axis, output=near, mode="constant")
    counted = labels[(near > 0) & (truth != UNLABELLED)]
    pixels_near = np.bincount(counted, minlength=table.shape[1])  # [k]
    iou = overlaps(table)
    best = ((iou == iou.max(axis=1, keepdims=True)) & (iou > 0)).any(axis=0)  # [k]
    found: npt.NDArray[np.bool_] = (2 * pixels_near > table.sum(axis=0)) & ~best
    return found
