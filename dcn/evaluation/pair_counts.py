"""Count pairs of labels, compiled. A module of its own, because importing numba takes half a second."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt


@numba.njit(nogil=True)
def count_pairs(
    labels: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64]
) -> None:
    """Count pairs of labels of two arrays ``[P]``. ``numpy.bincount`` needs an array of wide integers."""
    for pixel in range(len(labels)):
        counts[labels[pixel], mask[pixel]] += 1
