"""Label maps that are finer than patches: the borders of regions follow the edges of the photograph."""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt

from dcn.images.photograph import squash
from dcn.regions import label_map, resize_label_map, upsampled_bands
from dcn.speckles import remove_speckles

# Pixels a side for each patch: of the photograph that guides the borders, and of the label map.
_GUIDE_PIXELS, _LABEL_PIXELS = 4, 8
# Parameters of the guided filter: one and a half patches, and a deviation of 1% of the range of colors.
# docs/how-it-works/method.md compares them with others.
_RADIUS, _EPSILON = 6, 1e-4


def guide_side(patches: int) -> int:
    """Side in pixels of the square photograph that guides the borders of ``patches`` patches."""
    return _GUIDE_PIXELS * isqrt(patches)


def label_side(patches: int) -> int:
    """Side in pixels of the square label map of ``patches`` patches."""
    return _LABEL_PIXELS * isqrt(patches)


def fine_label_map(
    assignment: npt.NDArray[np.float16], photograph: npt.NDArray[np.uint8] | None, smallest_part: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Compute a square label map whose borders follow the photograph, without small parts of regions.

    The assignment is upsampled bilinearly, and a guided filter moves its borders to the edges of the
    photograph (:func:`dcn.guided_filter.guided_filter`). A region without a pixel before the filter has none
    afterwards. :func:`dcn.regions.resize_label_map` brings the map to the size of the photograph.

    Args:
        assignment: ``[n, k]`` soft assignment of one image, ``n`` a square number of patches in row-major
            order. The scale of its values does not matter, because the filter is linear.
        photograph: ``[H, W, 3]`` RGB; None leaves the borders where bilinear upsampling puts them. It is
            squashed to the side :func:`guide_side`.
        smallest_part: see :func:`dcn.speckles.remove_speckles`; 0 removes nothing.

    Returns:
        ``[S, S]`` in 0 to k - 1, ``S`` of :func:`label_side`.

    """
    patches = len(assignment)
    side = label_side(patches)
    labels = label_map(assignment, side, side)
    if photograph is not None:
        occurring = np.unique(labels)  # [c]
        guide = squash(photograph, guide_side(patches))
        filtered = _filtered(assignment[:, occurring], guide)  # [m, c]
        labels = occurring[label_map(filtered, side, side)]
    return remove_speckles(labels, smallest_part)


def pixel_label_map(
    assignment: npt.NDArray[np.float16],
    photograph: npt.NDArray[np.uint8],
    refine: bool,
    smallest_part: float,
) -> npt.NDArray[np.uint8]:
    """Compute the label of every pixel of a photograph at its own size.

    Args:
        assignment: ``[n, k]``, see :func:`fine_label_map`.
        photograph: ``[H, W, 3]`` RGB.
        refine: whether the borders follow the photograph.
        smallest_part: see :func:`dcn.speckles.remove_speckles`; 0 removes nothing.

    Returns:
        ``[H, W]`` in 0 to k - 1.

    """
    height, width = photograph.shape[:2]
    if not (refine or smallest_part):
        return label_map(assignment, height, width)
    fine = fine_label_map(assignment, photograph if refine else None, smallest_part)
    return resize_label_map(fine, height, width)


def _filtered(assignment: npt.NDArray[np.float16], guide: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Upsample an assignment ``[n, c]`` to the pixels of the guide, and filter it by the guide."""
    import torch

    from dcn.guided_filter import guided_filter

    bands = upsampled_bands(torch.from_numpy(assignment), *guide.shape[:2])
    values = torch.cat([band for _, band in bands], dim=1).numpy()  # [c, g, g]
    colors = (guide.transpose(2, 0, 1) / 255).astype(np.float32)  # [3, g, g]
    filtered = guided_filter(values, colors, _RADIUS, _EPSILON)
    return filtered.reshape(len(filtered), -1).T  # [g * g, c]
