"""Sums over all pairs of tokens of an image for the modularity loss, for a CUDA device.

cuBLAS computes the affinity of a few images, ``[b, n, n]``. The kernel reads it once and finds the cluster of
each pair, so that nothing of size ``[n, n, k]`` is written to memory.

Reference: :func:`dcn.modularity.cluster_sums`. Test: ``tests/dcn/kernels/test_modularity_triton.py``.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Tokens on each side of a block of pairs. Long rows: a thread adds many pairs before threads exchange sums.
_ROWS, _COLUMNS = 16, 128
# Pairs of tokens in memory at once: 256 MiB in float32.
_PAIRS = 1 << 26


def cluster_sums_triton(unit: Tensor, positive: Tensor, resolution: float) -> Tensor:
    """``G`` of :mod:`dcn.modularity`.

    Args:
        unit: ``[B, n, d]`` float32 directions of the tokens.
        positive: ``[B, k, n]`` float32 the assignment, clamped at 0.
        resolution: see :func:`dcn.modularity.modularity`.

    Returns:
        ``[B, k, n]``.

    """
    positive = positive.contiguous()
    batch, k, n = positive.shape
    result = torch.empty_like(positive)
    images = max(1, _PAIRS // (n * n))
    for start in range(0, batch, images):
        chunk = slice(start, start + images)
        affinity = torch.bmm(unit[chunk], unit[chunk].mT).clamp_(min=0)  # [b, n, n]; NaN stays
        degrees = affinity.sum(dim=2)  # [b, n]
        total = degrees.sum(dim=1)  # [b]
        total = torch.where(total > 0, total, torch.ones_like(total))
        _cluster_sums[triton.cdiv(n, _ROWS), len(total)](
            affinity,
            degrees / total[:, None],
            total,
            positive[chunk],
            result[chunk],
            n,
            resolution,
            clusters=k,
            padded=triton.next_power_of_2(k),
            block_rows=_ROWS,
            block_columns=_COLUMNS,
        )
    return result


@triton.jit
def _cluster_sums(
    affinity,
    share,
    total,
    positive,
    result,
    n,
    resolution,
    clusters: tl.constexpr,
    padded: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
):
    """Fill ``result [b, k, n]``; one program computes a block of tokens of one image."""
    image = tl.program_id(1).to(tl.int64)
    affinity += image * n * n
    share += image * n
    positive += image * clusters * n
    scale = 1.0 / tl.load(total + image)
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    own_share = tl.load(share + rows, rows < n, 0.0)
    numbers = tl.arange(0, padded)
    sums = tl.zeros((block_rows, padded), tl.float32)
    for start in range(0, n, block_columns):
        columns = start + tl.arange(0, block_columns)
        inside = (rows[:, None] < n) & (columns[None, :] < n)
        weights = tl.load(affinity + rows[:, None] * n + columns[None, :], inside, 0.0) * scale
        weights -= resolution * own_share[:, None] * tl.load(share + columns, columns < n, 0.0)[None, :]
        # A pair belongs to the first cluster that attains its maximum.
        best = tl.full((block_rows, block_columns), -1.0, tl.float32)
        winner = tl.zeros((block_rows, block_columns), tl.int32)
        for c in tl.static_range(clusters):
            own = tl.load(positive + c * n + rows, rows < n, 0.0)
            others = tl.load(positive + c * n + columns, columns < n, 0.0)
            product = own[:, None] * others[None, :]
            winner = tl.where(product > best, c, winner)
            best = tl.where(product > best, product, best)
        for c in tl.static_range(clusters):
            others = tl.load(positive + c * n + columns, columns < n, 0.0)
            won = tl.sum(tl.where(winner == c, weights * others[None, :], 0.0), axis=1)
            sums += tl.where(numbers[None, :] == c, won[:, None], 0.0)
    places = image * clusters * n + numbers[None, :] * n + rows[:, None]
    tl.store(result + places, sums, (rows[:, None] < n) & (numbers[None, :] < clusters))
