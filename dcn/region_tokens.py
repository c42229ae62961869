"""Mean token of each region: an embedding of the region that costs no forward pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mean_tokens(
    tokens: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8], num_regions: int
) -> npt.NDArray[np.float32]:
    """Average over the pixels of each region the tokens of the patches that the pixels lie in.

    So a patch counts as much as the region covers of it, and a region smaller than a patch has a mean, too.

    Args:
        tokens: ``[n, d]`` tokens of the photograph, ``n`` a square number of patches in row-major order.
        labels: label map ``[H, W]``, the region of each pixel. Labels from ``num_regions`` on are in no
            region.
        num_regions: number ``k`` of regions.

    Returns:
        ``[k, d]``; a region that does not occur has zeros.

    Example:
        >>> tokens = np.array([[1.0], [2.0], [3.0], [4.0]])  # 2 x 2 patches
        >>> labels = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], dtype=np.uint8)
        >>> mean_tokens(tokens, labels, 3)[:, 0]
        array([1.8      , 3.3333333, 0.       ], dtype=float32)

    """
    (height, width), n = labels.shape, len(tokens)
    side = round(n**0.5)
    rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
    patch = rows[:, None] * side + columns  # [H, W]
    inside = labels < num_regions
    flat = labels[inside].astype(np.int64) * n + patch[inside]
    pixels = np.bincount(flat, minlength=num_regions * n).reshape(num_regions, n)  # [k, n]
    area = pixels.sum(axis=1, keepdims=True)  # [k, 1]
    means: npt.NDArray[np.float32] = (pixels / np.maximum(area, 1)).astype(np.float32) @ tokens.astype(
        np.float32
    )
    return means
