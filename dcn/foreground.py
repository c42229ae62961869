"""Foreground detection: the CLS attention decides which regions are foreground (section 4.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dcn.regions import region_areas, upsampled_bands
from dcn.weights.presets import AttentionReduction, ForegroundSplit, RegionScore

if TYPE_CHECKING:
    from torch import Tensor


def reduce_heads(attention: Tensor, reduction: AttentionReduction) -> Tensor:
    """Reduce the attention heads to one attention value per patch (section 4.1.2).

    The paper's text says minimum; its reason ("appears in at least one attention head") says maximum.

    Args:
        attention: ``[h, n]`` of one image.
        reduction: ``"max"``, ``"mean"`` or ``"min"`` over the heads.

    Returns:
        ``[n]``.

    """
    if reduction == "max":
        return attention.amax(dim=0)
    return attention.amin(dim=0) if reduction == "min" else attention.mean(dim=0)


def region_scores(
    attention: Tensor, labels: npt.NDArray[np.uint8], num_regions: int, score: RegionScore
) -> npt.NDArray[np.float32]:
    """Compute the foreground score of each region from the attention of its pixels (section 4.1.2).

    The attention is upsampled like the assignment.

    Args:
        attention: ``[n]`` of one image, from :func:`reduce_heads`.
        labels: label map ``[H, W]``, the region of each pixel.
        num_regions: number of regions ``k``.
        score: ``"sum"`` over the pixels, as in the paper, or their ``"mean"``.

    Returns:
        ``[k]`` float32; 0 for a region that does not occur.

    """
    height, width = labels.shape
    totals = np.zeros(num_regions)
    for top, band in upsampled_bands(attention[:, None], height, width):
        pixels, part = band[0].numpy(), labels[top : top + band.shape[1]]
        for region in range(num_regions):
            totals[region] += pixels.sum(where=part == region, dtype=np.float64)
    if score == "mean":
        areas = region_areas(labels, num_regions)
        totals = np.divide(totals, areas, out=np.zeros_like(totals), where=areas > 0)
    return totals.astype(np.float32)


def foreground_regions(
    scores: npt.NDArray[np.float32],
    areas: npt.NDArray[np.int64],
    split: ForegroundSplit = "two-means",
) -> npt.NDArray[np.bool_]:
    """Choose the foreground regions of an image: of two groups, the one with larger scores (section 4.1.2).

    A single region is foreground. Regions with equal scores belong to one group; if all scores are equal, all
    regions are foreground.

    Args:
        scores: ``[k]`` from :func:`region_scores`.
        areas: ``[k]`` in pixels. A region of area 0 does not occur and is never foreground.
        split: ``"two-means"`` finds the groups by 2-means on the scores, as the paper does. In one dimension
            its exact solution is the best split of the sorted scores. ``"average"`` puts the scores above
            their average, weighted by area, into the upper group. If scores are means over pixels, that
            average is the mean attention of the photograph. An object in several regions then stays
            foreground as a whole, where 2-means often keeps only its most salient region.

    Returns:
        ``[k]`` bool.

    Example:
        >>> foreground_regions(np.array([1, 9, 8, 0], np.float32), np.array([50, 20, 30, 0]))
        array([False,  True,  True, False])

    """
    present = np.flatnonzero(areas > 0)
    foreground = np.zeros(len(scores), dtype=np.bool_)
    if not len(present):
        return foreground
    exact = scores[present].astype(np.float64)
    threshold = _average(exact, areas[present]) if split == "average" else _two_means(exact)
    foreground[present] = exact >= threshold
    return foreground


def _average(scores: npt.NDArray[np.float64], areas: npt.NDArray[np.int64]) -> float:
    # A rounding error must not put the average above the largest score.
    return float(min(np.average(scores, weights=areas), scores.max()))


def _two_means(scores: npt.NDArray[np.float64]) -> float:
    """Find the least score of the upper group."""
    ordered = np.sort(scores)
    threshold, least = -np.inf, np.inf
    for split in range(1, len(ordered)):
        if ordered[split] == ordered[split - 1]:
            continue
        low, high = ordered[:split], ordered[split:]
        spread = ((low - low.mean()) ** 2).sum() + ((high - high.mean()) ** 2).sum()
        if spread < least:
            threshold, least = float(ordered[split]), float(spread)
    return threshold
