"""Label maps that are finer than patches: the borders of regions follow the edges of the photograph."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dcn.images.photograph import squash
from dcn.regions import label_map, occurring_labels, possible_labels, resize_label_map, upsampled_bands
from dcn.speckles import remove_speckles

if TYPE_CHECKING:
    from dcn.guided_filter import GuidedFilter

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


def edge_filter(photograph: npt.NDArray[np.uint8], patches: int) -> GuidedFilter:
    """Make the filter that moves borders to the edges of a photograph ``[H, W, 3]``, for so many patches."""
    from dcn.guided_filter import GuidedFilter

    guide = squash(photograph, guide_side(patches))  # [g, g, 3]
    return GuidedFilter((guide.transpose(2, 0, 1) / 255).astype(np.float32), _RADIUS, _EPSILON)


def fine_label_map(
    assignment: npt.NDArray[np.float16],
    photograph: npt.NDArray[np.uint8] | GuidedFilter | None,
    smallest_part: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Compute a square label map whose borders follow the photograph, without small parts of regions.

    The assignment is upsampled bilinearly, and a guided filter moves its borders to the edges of the
    photograph (:class:`dcn.guided_filter.GuidedFilter`). A region without a pixel before the filter has none
    afterwards. :func:`dcn.regions.resize_label_map` brings the map to the size of the photograph.

    Args:
        assignment: ``[n, k]`` soft assignment of one image, ``n`` a square number of patches in row-major
            order. The scale of its values does not matter, because the filter is linear.
        photograph: ``[H, W, 3]`` RGB, which is squashed to the side :func:`guide_side`, or what
            :func:`edge_filter` made of it for several maps; None leaves the borders where bilinear
            upsampling puts them.
        smallest_part: see :func:`dcn.speckles.remove_speckles`; 0 removes nothing.

    Returns:
        ``[S, S]`` in 0 to k - 1, ``S`` of :func:`label_side`.

    """
    patches = len(assignment)
    side = label_side(patches)
    possible = possible_labels(assignment)  # [p]; those of a head are few of many
    labels = possible[label_map(assignment[:, possible], side, side)]
    if photograph is not None:
        occurring = occurring_labels(labels)  # [c]
        if isinstance(photograph, np.ndarray):
            photograph = edge_filter(photograph, patches)
        filtered = _filtered(assignment[:, occurring], photograph)  # [m, c]
        labels = occurring[label_map(filtered, side, side)]
    return remove_speckles(labels, smallest_part)


def pixel_label_maps(
    assignments: Sequence[npt.NDArray[np.float16]],
    photograph: npt.NDArray[np.uint8],
    refine: bool,
    smallest_part: float,
) -> list[npt.NDArray[np.uint8]]:
    """Compute label maps of a photograph at its own size, such as those of its regions and of its classes.

    Args:
        assignments: ``[n, k]`` each, see :func:`fine_label_map`; ``k`` may differ.
        photograph: ``[H, W, 3]`` RGB.
        refine: whether the borders follow the photograph.
        smallest_part: see :func:`dcn.speckles.remove_speckles`; 0 removes nothing.

    Returns:
        For each assignment the label of every pixel, ``[H, W]`` in 0 to k - 1.

    """
    height, width = photograph.shape[:2]
    if not (refine or smallest_part):
        return [label_map(assignment, height, width) for assignment in assignments]
    edges = edge_filter(photograph, len(assignments[0])) if refine else None
    fine = (fine_label_map(assignment, edges, smallest_part) for assignment in assignments)
    return [resize_label_map(labels, height, width) for labels in fine]


def _filtered(assignment: npt.NDArray[np.float16], edges: GuidedFilter) -> npt.NDArray[np.float32]:
    """Upsample an assignment ``[n, c]`` to the pixels of the guide, and filter it."""
    import torch

    side = guide_side(len(assignment))
    bands = upsampled_bands(torch.from_numpy(assignment), side, side)
    filtered = edges(torch.cat([band for _, band in bands], dim=1).numpy())  # [c, g, g]
    return filtered.reshape(len(filtered), -1).T  # [g * g, c]
