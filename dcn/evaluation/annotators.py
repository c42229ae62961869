"""Compare regions without classes with the segmentations of several annotators, as BSDS500 does.

Arbelaez et al., Contour Detection and Hierarchical Image Segmentation, TPAMI 2011, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import entropy


@dataclass(frozen=True)
class AnnotatorAgreement:
    """Agreement of one segmentation with the segmentations of several annotators.

    Attributes:
        covering: segmentation covering, 0 to 1: the IoU of each annotated region with the region that covers
            it best, averaged over the regions of all annotators and weighted by their area.
        rand_index: probabilistic Rand index, 0 to 1: the share of pairs of pixels that both segmentations
            put together or both put apart, averaged over the annotators.
        variation_of_information: ``H(A|B) + H(B|A)`` in bits, averaged over the annotators. Equal
            segmentations have 0.

    """

    covering: float
    rand_index: float
    variation_of_information: float


def compare_with_annotators(
    labels: npt.NDArray[np.uint8], segmentations: Sequence[npt.NDArray[np.uint16]]
) -> AnnotatorAgreement:
    """Compute covering, probabilistic Rand index and variation of information of one image.

    The benchmark averages each metric over the images of a data set.

    Args:
        labels: ``[H, W]`` label map of the regions; some numbers may be missing.
        segmentations: ``[H, W]`` of each annotator, at least one. Regions count from 1; 0 is unlabelled and
            counts nowhere, as in the authors' code. Not all of the image can be 0.

    """
    tables = [_contingency(labels, segmentation) for segmentation in segmentations]
    covered, area = np.sum([_covering(table) for table in tables], axis=0)
    return AnnotatorAgreement(
        covering=float(covered / area),
        rand_index=float(np.mean([_rand_index(table) for table in tables])),
        variation_of_information=float(np.mean([_variation_of_information(table) for table in tables])),
    )


def _contingency(
    labels: npt.NDArray[np.uint8], segmentation: npt.NDArray[np.uint16]
) -> npt.NDArray[np.int64]:
    """Count the pixels ``[T, k]`` that each annotated region shares with each region of the segmentation."""
    regions = int(labels.max()) + 1
    size = (int(segmentation.max()) + 1) * regions
    joint = np.bincount(segmentation.ravel().astype(np.intp) * regions + labels.ravel(), minlength=size)
    return joint.reshape(-1, regions)[1:]


def _covering(table: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Sum the annotated regions' areas times their best IoU, and sum the areas."""
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
    return max(0.0, float(2 * joint - apart))  # rounding can give a tiny negative number
