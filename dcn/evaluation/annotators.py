"""Compare regions without classes with the segmentations of several annotators, as BSDS500 does.

Arbelaez et al., Contour Detection and Hierarchical Image Segmentation, TPAMI 2011, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import entropy

from dcn.evaluation.best_overlap import covering
from dcn.evaluation.boundaries import boundary_agreement, fill_unlabelled


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
        boundary_f: F of the boundaries within a tolerance (:mod:`dcn.evaluation.boundaries`), 0 to 1,
            averaged over the annotators.
        annotated_regions: number of regions, averaged over the annotators.

    """

    covering: float
    rand_index: float
    variation_of_information: float
    boundary_f: float
    annotated_regions: float


def compare_with_annotators(
    labels: npt.NDArray[np.uint8], segmentations: Sequence[npt.NDArray[np.uint16]]
) -> AnnotatorAgreement:
    """Compute the agreement of the regions of one image with the regions of each annotator.

    The benchmark averages each metric over the images of a data set.

    Args:
        labels: ``[H, W]`` label map of the regions; some numbers may be missing.
        segmentations: ``[H, W]`` of each annotator, at least one. Regions count from 1; 0 is unlabelled and
            counts nowhere, as in the authors' code. Not all of the image can be 0.

    """
    tables = [_contingency(labels, segmentation) for segmentation in segmentations]
    truths = [fill_unlabelled(segmentation.astype(np.int32) - 1) for segmentation in segmentations]
    return AnnotatorAgreement(
        covering=covering(tables),
        rand_index=float(np.mean([_rand_index(table) for table in tables])),
        variation_of_information=float(np.mean([_variation_of_information(table) for table in tables])),
        boundary_f=float(np.mean([boundary_agreement(labels, truth).f for truth in truths])),
        annotated_regions=float(np.mean([np.count_nonzero(table.any(axis=1)) for table in tables])),
    )


def _contingency(
    labels: npt.NDArray[np.uint8], segmentation: npt.NDArray[np.uint16]
) -> npt.NDArray[np.int64]:
    """Count the pixels ``[T, k]`` that each annotated region shares with each region of the segmentation."""
    regions = int(labels.max()) + 1
    size = (int(segmentation.max()) + 1) * regions
    joint = np.bincount(segmentation.ravel().astype(np.intp) * regions + labels.ravel(), minlength=size)
    return joint.reshape(-1, regions)[1:]


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
