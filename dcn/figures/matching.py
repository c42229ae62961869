"""Matching of regions of one photograph by several methods, so that pictures give them the same colors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from dcn.evaluation.overlap import region_overlap


def matched_labels(labels: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Number the regions of a label map like the regions of another one that they overlap most.

    The Hungarian algorithm matches the regions one to one, so that the pixels which both maps give the same
    number are as many as possible. A region that is left over gets a number that the reference does not use.

    Args:
        labels: label map ``[H, W]``.
        reference: label map ``[H, W]`` of the same photograph.

    Returns:
        ``[H, W]`` with the same regions and other numbers.

    Example:
        >>> matched_labels(np.array([[4, 4, 1]], np.uint8), np.array([[0, 0, 2]], np.uint8))
        array([[0, 0, 2]], dtype=uint8)

    """
    found, known = np.unique(labels), np.unique(reference)
    shared = region_overlap(labels, reference, 256, 256)[np.ix_(found, known)]  # [k, m]
    rows, columns = linear_sum_assignment(shared, maximize=True)
    overlapping = shared[rows, columns] > 0
    matched = found[rows[overlapping]]
    unmatched = np.setdiff1d(found, matched)
    numbers = np.zeros(256, np.uint8)  # new number of each region
    numbers[matched] = known[columns[overlapping]]
    numbers[unmatched] = np.setdiff1d(np.arange(256), known)[: len(unmatched)]
    return numbers[labels]
