"""The sums over the pairs of an image that the modularity loss needs, compiled for the CPU.

PyTorch would write every ``[n, n]`` intermediate to memory, several for each cluster. Here a row of pairs is
finished while it is in the first-level cache.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcn.cpu_threads import FAST_MATH, in_parts


def cluster_sums_cpu(
    affinity: Tensor, share: Tensor, total: Tensor, positive: Tensor, resolution: float
) -> Tensor:
    """As ``dcn.modularity._cluster_sums``, but leaves ``affinity`` as it is.

    Uses as many threads as PyTorch does. Each row is summed by one thread in one order, so the result does
    not depend on their number.
    """
    b, _, n = positive.shape
    result = torch.empty_like(positive)
    tensors = (affinity, share, resolution * share, total.reciprocal(), positive, result)
    in_parts(_sum_rows, tensors, b * n)
    return result


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _sum_rows(
    affinity: npt.NDArray[Any],
    share: npt.NDArray[Any],
    factor: npt.NDArray[Any],
    scale: npt.NDArray[Any],
    positive: npt.NDArray[Any],
    result: npt.NDArray[Any],
    start: int,
    stop: int,
) -> None:
    """Fill ``result[b, k, n]`` for the tokens from ``start`` to before ``stop``, counted over all images."""
    _, k, n = positive.shape
    zero = affinity.dtype.type(0)
    weights = np.empty(n, affinity.dtype)
    best = np.empty(n, affinity.dtype)
    winner = np.empty(n, np.int32)
    for token in range(start, stop):
        image = token // n
        i = token - image * n
        row, shares, clusters = affinity[image, i], share[image], positive[image]
        own = clusters[0, i]
        for j in range(n):
            weights[j] = row[j] * scale[image] - factor[image, i] * shares[j]
            best[j] = own * clusters[0, j]
            winner[j] = 0
        # A pair goes to the first cluster that attains its maximum.
        for c in range(1, k):
            own, others = clusters[c, i], clusters[c]
            for j in range(n):
                product = own * others[j]
                larger = product > best[j]
                best[j] = product if larger else best[j]
                winner[j] = c if larger else winner[j]
        for c in range(k):
            others, total = clusters[c], zero
            for j in range(n):
                total += weights[j] * (others[j] if winner[j] == c else zero)
            result[image, c, i] = total
