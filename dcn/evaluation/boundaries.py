"""Agreement of the boundaries of regions with the boundaries of true regions: precision, recall and F.

A boundary pixel agrees if the other map has a boundary pixel within a tolerance. The benchmark of BSDS
(Martin et al., TPAMI 2004) has the same tolerance, but matches boundary pixels one to one. Here several
pixels may agree with the same one, so precision and recall are at least as large, and the time is linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numba
import numpy as np
import numpy.typing as npt

# Tolerance of the benchmark of BSDS, as a share of the diagonal of the image.
TOLERANCE = 0.0075
UNLABELLED = -1


@dataclass(frozen=True)
class BoundaryAgreement:
    """Agreement of two boundaries.

    If both images have no boundary, everything is 1. If only one has a boundary, F is 0.

    Attributes:
        precision: share of the pixels of the found boundary near the true boundary; 1 without found boundary.
        recall: share of the pixels of the true boundary near the found boundary; 1 without true boundary.

    """

    precision: float
    recall: float

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def boundary_agreement(labels: npt.NDArray[np.uint8], truth: npt.NDArray[np.int32]) -> BoundaryAgreement:
    """Compare the boundaries of regions with those of true regions, within :data:`TOLERANCE`.

    Args:
        labels: ``[H, W]`` label map of the regions.
        truth: ``[H, W]`` true regions without unlabelled pixels (:func:`fill_unlabelled`).

    """
    found, true = boundaries(labels), boundaries(truth)
    tolerance = TOLERANCE * hypot(*labels.shape)
    return BoundaryAgreement(
        precision=_share_near(found, true, tolerance), recall=_share_near(true, found, tolerance)
    )


def boundaries(labels: npt.NDArray[np.uint8] | npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Mark the pixels ``[H, W]`` whose right or lower neighbor has another label. Such a line is thin."""
    found = np.zeros(labels.shape, dtype=np.bool_)
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    found[:-1] |= labels[:-1] != labels[1:]
    return found


def fill_unlabelled(truth: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Give each unlabelled pixel the label of a nearest labelled pixel, in steps to the four neighbors.

    PASCAL VOC labels no pixel of a rim along each object. The boundary then runs in the middle of the rim.

    Args:
        truth: ``[H, W]``; :data:`UNLABELLED` marks a pixel without a label.

    Returns:
        ``[H, W]``. If no pixel is labelled, nothing changes.

    """
    filled = truth.copy()
    _spread(filled)
    return filled


@numba.njit(nogil=True)
def _spread(labels: npt.NDArray[np.int32]) -> None:
    """Spread labels in waves, in place: a pixel that a wave reaches is the start of the next wave."""
    height, width = labels.shape
    queue = np.empty(labels.size, np.int64)
    end = 0
    for y in range(height):
        for x in range(width):
            if labels[y, x] != UNLABELLED and (
                (y > 0 and labels[y - 1, x] == UNLABELLED)
                or (x > 0 and labels[y, x - 1] == UNLABELLED)
                or (y + 1 < height and labels[y + 1, x] == UNLABELLED)
                or (x + 1 < width and labels[y, x + 1] == UNLABELLED)
            ):
                queue[end] = y * width + x
                end += 1
    start = 0
    while start < end:
        y, x = divmod(queue[start], width)
        start += 1
        for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            v, u = y + dy, x + dx
            if 0 <= v < height and 0 <= u < width and labels[v, u] == UNLABELLED:
                labels[v, u] = labels[y, x]
                queue[end] = v * width + u
                end += 1


@numba.njit(nogil=True)
def _share_near(points: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_], tolerance: float) -> float:
    """Compute the share of the points with a target within the tolerance; 1 without points.

    The distances are those of the Euclidean distance transform, which goes over the columns and then over the
    rows. Only points need the second pass, and only as far as the tolerance. This takes a tenth of the time.
    """
    height, width = points.shape
    reach = int(tolerance)
    far = reach + 1
    vertical = np.full((height, width), far, np.int32)  # distance to a target in the same column
    for y in range(height):
        for x in range(width):
            if target[y, x]:
                vertical[y, x] = 0
            elif y > 0:
                vertical[y, x] = min(far, vertical[y - 1, x] + 1)
    for y in range(height - 2, -1, -1):
        for x in range(width):
            vertical[y, x] = min(vertical[y, x], vertical[y + 1, x] + 1)
    total = near = 0
    for y in range(height):
        for x in range(width):
            if points[y, x]:
                total += 1
                for u in range(max(0, x - reach), min(width, x + reach + 1)):
                    if vertical[y, u] ** 2 + (u - x) ** 2 <= tolerance**2:
                        near += 1
                        break
    return near / total if total else 1.0
