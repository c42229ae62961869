"""Which regions of an image are foreground, by the attention of the CLS token (section 4.1.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dcn.regions import region_areas, upsampled_bands
from dcn.weights.presets import AttentionReduction, RegionScore


def reduce_heads(attention: Tensor, reduction: AttentionReduction) -> Tensor:
    """One attention value per patch: ``[h, n]`` to ``[n]``.

    The paper's text says minimum, its reason ("appears in at least one attention head") says maximum.
    """
    if reduction == "max":
        return attention.amax(dim=0)
    return attention.amin(dim=0) if reduction == "min" else attention.mean(dim=0)


def region_scores(
    attention: Tensor, labels: npt.NDArray[np.uint8], num_regions: int, score: RegionScore
) -> npt.NDArray[np.float32]:
    """Foreground score of each region: attention of its pixels, upsampled like the assignment.

    Args:
        attention: ``[n]`` of one image.
        labels: label map ``[H, W]`` of its regions.
        num_regions: ``k``.
        score: ``"sum"`` over the pixels as in the paper, or their ``"mean"``.

    Returns:
        ``[num_regions]``; 0 where a region does not occur.

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
    scores: npt.NDArray[np.float32], areas: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """The group of regions with the larger scores, of the two that 2-means finds.

    In one dimension 2-means is solved exactly: the best split of the sorted scores. An image with one
    region has it as foreground; regions with equal scores fall into one group, and if all are equal, all
    are foreground.

    Args:
        scores: ``[k]``.
        areas: ``[k]``; a region of area 0 does not occur and is never foreground.

    """
    present = np.flatnonzero(areas > 0)
    ordered = np.sort(scores[present].astype(np.float64))
    threshold, least = -np.inf, np.inf
    for split in range(1, len(ordered)):
        if ordered[split] == ordered[split - 1]:
            continue
        low, high = ordered[:split], ordered[split:]
        spread = ((low - low.mean()) ** 2).sum() + ((high - high.mean()) ** 2).sum()
        if spread < least:
            threshold, least = ordered[split], spread
    foreground = np.zeros(len(scores), dtype=np.bool_)
    foreground[present] = scores[present] >= threshold
    return foreground
