"""Assignments from labels and scores: the argmax equals the labels, also in half precision.

Bilinear upsampling is linear, so the upsampled argmax does not change if a constant is added to all columns
of a token, or if the assignment of an image is scaled. So the label of every token can have the value 0
exactly. The differences that decide then lie near zero, where float16 is precise.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt

# Value in the columns of absent regions. Such a column never wins: in a bilinear interpolation the nearest
# token has a weight of at least 1/4, so the column of its label is at least -3/4.
ABSENT = -1.0
_LEAST_LOSS = float(np.finfo(np.float16).smallest_subnormal)


def map_assignment(labels: npt.NDArray[np.uint8], patches: int, num_regions: int) -> npt.NDArray[np.float32]:
    """Turn a label map into an assignment: each patch belongs to the region that has most of its pixels.

    Args:
        labels: ``[S, S]``, ``S`` a multiple of the patches in a row.
        patches: number of patches ``n``, a square number.
        num_regions: number of columns ``k``.

    Returns:
        ``[n, k]``, see :func:`assignment_of`. The score of a region is its share of the patch. A region that
        has the most pixels of no patch is absent.

    """
    side = isqrt(patches)
    occurring = np.unique(labels)  # [c]
    blocks = labels.reshape(side, len(labels) // side, side, -1)
    shares = np.zeros((patches, num_regions))
    for region in occurring.tolist():
        shares[:, region] = (blocks == region).mean(axis=(1, 3)).ravel()
    return assignment_of(shares.argmax(axis=1), shares, num_regions)


def assignment_of(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64], num_regions: int
) -> npt.NDArray[np.float32]:
    """Turn labels and scores into an assignment whose argmax is the labels, also in float16.

    Args:
        labels: ``[n]`` region of each token.
        scores: ``[n, c]`` score of each token for each region, ``c <= num_regions``; larger is better. If
            the label of a token does not have its best score (by rounding, or because the method does not
            label by scores alone), the label still wins, by the least difference in float16.
        num_regions: number of columns ``k``.

    Returns:
        ``[n, k]`` in [-1, 0]: 0 for the label, negative for other regions that occur, and :data:`ABSENT` for
        regions that are the label of no token.

    Example:
        >>> assignment_of(np.array([0, 2]), np.array([[3.0, 0.0, 1.0], [0.0, 0.0, 4.0]]), 3)
        array([[ 0. , -1. , -0.5],
               [-1. , -1. ,  0. ]], dtype=float32)

    """
    tokens, occurring = np.arange(len(labels)), np.unique(labels)
    losses = scores[tokens, labels][:, None] - scores[:, occurring]
    losses /= max(losses.max(), np.finfo(np.float64).tiny)
    assignment = np.full((len(labels), num_regions), ABSENT, dtype=np.float32)
    assignment[:, occurring] = -losses.clip(_LEAST_LOSS, 1)
    assignment[tokens, labels] = 0
    return assignment


def center_scores(
    vectors: npt.NDArray[np.floating], centers: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Score vectors by their nearness to centers: ``x . c - |c|^2 / 2``.

    The score is largest for the nearest center and linear in ``x``.

    Args:
        vectors: ``x``, ``[n, d]``.
        centers: ``c``, ``[k, d]``.

    Returns:
        ``[n, k]``.

    """
    wide = centers.astype(np.float64)
    scores: npt.NDArray[np.float64] = vectors.astype(np.float64) @ wide.T - (wide**2).sum(axis=1) / 2
    return scores
