"""Regions without classes against what several people drew: the region benchmarks of BSDS500.

Arbelaez et al., Contour Detection and Hierarchical Image Segmentation, TPAMI 2011, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import entropy


@dataclass(frozen=True)
class RegionScores:
    """Agreement of one segmentation with those of several annotators.

    Attributes:
        covering: of the annotators' regions by those of the segmentation: the IoU of each with the region
            that covers it best, averaged over the regions of all annotators by their area. 0 to 1.
        rand_index: probabilistic Rand index: share of pairs of pixels that both put together or both
            apart, averaged over annotators. 0 to 1.
        variation_of_information: ``H(A|B) + H(B|A)`` in bits, averaged over annotators. 0 is equality.

    """

    covering: float
    rand_index: float
    variation_of_information: float


def region_scores(
    labels: npt.NDArray[np.uint8], segmentations: Sequence[npt.NDArray[np.uint16]]
) -> RegionScores:
    """Scores of one image. Over a data set the benchmark averages them over images.

    Args:
        labels: ``[H, W]`` regions; numbers may be left out.
        segmentations: ``[H, W]`` of each annotator, one at least. Regions count from 1; 0 is unlabelled and
            counts nowhere, as in the authors' code, and does not fill the image.

    """
    tables = [_contingency(labels, segmentation) for segmentation in segmentations]
    covered, area = np.sum([_covering(table) for table in tables], axis=0)
    return RegionScores(
        covering=float(covered / area),
        rand_index=float(np.mean([_rand_index(table) for table in tables])),
        variation_of_information=float(np.mean([_variation_of_information(table) for table in tables])),
    )


def _contingency(
    labels: npt.NDArray[np.uint8], segmentation: npt.NDArray[np.uint16]
) -> npt.NDArray[np.int64]:
    """Pixels ``[T, k]`` that each region of the annotator shares with each of the segmentation."""
    regions = int(labels.max()) + 1
    size = (int(segmentation.max()) + 1) * regions
    joint = np.bincount(segmentation.ravel().astype(np.intp) * regions + labels.ravel(), minlength=size)
    return joint.reshape(-1, regions)[1:]


def _covering(table: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Area of the annotator's regions times their best IoU, and area, summed."""
    area = table.sum(axis=1)
    union = area[:, None] + table.sum(axis=0) - table
    best = np.divide(table, union, out=np.zeros(table.shape), where=union > 0).max(axis=1)
    return float(area @ best), float(area.sum())


def _rand_index(table: npt.NDArray[np.int64]) -> float:
    pixels = int(table.sum())
    if pixels < 2:
        return 1.0
    together = ((table.sum(axis=1) ** 2).sum() + (table.sum(axis=0) ** 2).sum()) / 2
    return float(1 - (together - (table**2).sum()) / (pixels * (pixels - 1) / 2))


def _variation_of_information(table: npt.NDArray[np.int64]) -> float:
    joint = entropy(table.ravel(), base=2)
    apart = entropy(table.sum(axis=1), base=2) + entropy(table.sum(axis=0), base=2)
    return max(0.0, float(2 * joint - apart))  # rounding may leave less than nothing
