"""Speckles: small separate parts of regions, which become part of the region beside them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def remove_speckles(labels: npt.NDArray[np.uint8], smallest_part: float) -> npt.NDArray[np.uint8]:
    """Give small parts of regions to the region beside them.

    A part is a connected component of the pixels of one region; pixels that share a side are connected. The
    parts that stay grow at the same pace into the small ones (a watershed without relief), so no new part
    arises. The largest part always stays, so at least one region does.

    Args:
        labels: label map ``[H, W]``.
        smallest_part: share of the pixels of the map, in [0, 1], that a part must have to stay.

    Returns:
        ``[H, W]``.

    Example:
        >>> remove_speckles(np.array([[0, 0, 0, 0], [0, 2, 0, 1], [0, 0, 1, 1]], np.uint8), smallest_part=0.2)
        array([[0, 0, 0, 0],
               [0, 0, 0, 1],
               [0, 0, 1, 1]], dtype=uint8)

    """
    if not smallest_part:
        return labels
    from skimage.measure import label
    from skimage.segmentation import watershed

    parts = label(labels, background=-1, connectivity=1)  # [H, W], 1 to number of parts
    pixels = np.bincount(parts.ravel())
    small = pixels < smallest_part * labels.size
    small[pixels.argmax()] = False
    small[0] = False  # no part has the number 0
    if not small.any():
        return labels
    grown = watershed(np.zeros(labels.shape), np.where(small[parts], 0, parts), connectivity=1)  # [H, W]
    region = np.zeros(len(pixels), dtype=np.uint8)
    region[parts] = labels
    cleaned: npt.NDArray[np.uint8] = region[grown]
    return cleaned
