"""Sums over all pairs of tokens of an image for the modularity loss, compiled for the CPU.

PyTorch would write every ``[n, n]`` intermediate to memory, several for each cluster. Here a row of pairs is
finished while it is in the first-level cache.

Reference: :func:`dcn.modularity.cluster_sums`. Test: ``tests/dcn/test_modularity.py``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from dcn.kernels.cpu_threads import FAST_MATH


@numba.njit(nogil=True, fastmath=FAST_MATH)
def sum_rows(
    affinity: npt.NDArray[Any],
    share: npt.NDArray[Any],
    factor: npt.NDArray[Any],
    scale: npt.NDArray[Any],
    positive: npt.NDArray[Any],
    result: npt.NDArray[Any],
) -> None:
    """Fill ``result [k, n]`` of one image.

    Args:
        affinity: ``[n, n]``, the affinities of equation 8.
        share: ``[n]``, share of each token in the sum of all degrees.
        factor: ``[n]``, ``share`` times the resolution.
        scale: ``[1]``, one over the sum of all degrees.
        positive: ``[k, n]``, the assignment, clamped at 0.
        result: ``[k, n]``.

    """
    k, n = positive.shape
    zero = affinity.dtype.type(0)
    weights = np.empty(n, affinity.dtype)
    best = np.empty(n, affinity.dtype)
    winner = np.empty(n, np.int32)
    for i in range(n):
        row, own = affinity[i], positive[0, i]
        for j in range(n):
            weights[j] = row[j] * scale[0] - factor[i] * share[j]
            best[j] = own * positive[0, j]
            winner[j] = 0
        # A pair belongs to the first cluster that attains its maximum.
        for c in range(1, k):
            own, others = positive[c, i], positive[c]
            for j in range(n):
                product = own * others[j]
                larger = product > best[j]
                best[j] = product if larger else best[j]
                winner[j] = c if larger else winner[j]
        for c in range(k):
            others, total = positive[c], zero
            for j in range(n):
                total += weights[j] * (others[j] if winner[j] == c else zero)
            result[c, i] = total
