"""What every segmenter returns: an assignment whose argmax is its own labels, also in half precision.

Bilinear upsampling is linear, so what is added to all columns of a token, and the scale of an image, change
no upsampled argmax. That leaves the freedom to write the winner of every token as exactly 0: the differences
that decide then lie near zero, where float16 is fine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Upsampled, the column that wins at the nearest token is at least -3/4: its weight is at least 1/4.
ABSENT = -1.0
_LEAST_LOSS = float(np.finfo(np.float16).smallest_subnormal)


def assignment_of(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64], num_regions: int
) -> npt.NDArray[np.float32]:
    """Scores as an assignment that has the labels as its argmax.

    Args:
        labels: ``[n]`` region of each token.
        scores: ``[n, c]`` with ``c <= num_regions``, larger is better. Where another column beats that of
            the label, by rounding or because a method labels by more than a score, the label wins by a hair.
        num_regions: ``k``.

    Returns:
        ``[n, k]`` in [-1, 0]: 0 for the label, negative for other regions that occur, and :data:`ABSENT` in
        the column of one that no token has as its label. Converts to float16 with the same argmax.

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
    """``x . c - |c|^2 / 2``, which is largest for the nearest center and linear in ``x``.

    Args:
        vectors: ``[n, d]``.
        centers: ``[k, d]``.

    Returns:
        ``[n, k]``.

    """
    wide = centers.astype(np.float64)
    scores: npt.NDArray[np.float64] = vectors.astype(np.float64) @ wide.T - (wide**2).sum(axis=1) / 2
    return scores
