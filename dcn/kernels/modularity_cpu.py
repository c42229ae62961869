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

from dcn.affinity import affinity_graph
from dcn.kernels.cpu_threads import FAST_MATH, in_parts


def cluster_sums_cpu(tokens: Tensor, positive: Tensor, resolution: float) -> Tensor:
    """As :func:`dcn.modularity.cluster_sums`, with the images shared out among threads.

    An image is computed by one of them in one order, so the result does not depend on their number.
    """
    clusters = positive.mT.contiguous().numpy()  # [B, k, n]
    sums = np.empty_like(clusters)

    def compute(start: int, stop: int) -> None:
        # The same memory for every image: fresh pages would cost as much as the product that fills them.
        buffer = tokens.new_empty(1, tokens.shape[1], tokens.shape[1])
        for image in range(start, stop):
            affinity, share, total = affinity_graph(tokens[image : image + 1], out=buffer)
            graph = [part.numpy() for part in (affinity[0], share[0], resolution * share[0], 1 / total)]
            _sum_rows(*graph, clusters[image], sums[image])  # type: ignore[call-arg]

    in_parts(compute, len(tokens))
    return torch.from_numpy(sums).mT


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _sum_rows(
    affinity: npt.NDArray[Any],
    share: npt.NDArray[Any],
    factor: npt.NDArray[Any],
    scale: npt.NDArray[Any],
    positive: npt.NDArray[Any],
    result: npt.NDArray[Any],
) -> None:
    """Fill ``result [k, n]`` of the graph of one image, ``scale [1]``, and ``positive [k, n]``."""
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
        # A pair goes to the first cluster that attains its maximum.
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
