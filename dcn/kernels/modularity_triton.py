"""Sums over all pairs of tokens of an image for the modularity loss, for a CUDA device.

The kernels write nothing of size ``[n, n]`` to memory. They compute a block of the affinity where they use
it, once for the degrees and once for the sums, because on a GPU products cost less than memory. Products are
in full float32, not TF32.

Reference: :func:`dcn.modularity.cluster_sums`. Test: ``tests/dcn/kernels/test_modularity_triton.py``.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Number of tokens on each side of a block of pairs, and number of channels that are multiplied together.
_BLOCK, _CHANNELS = 32, 32


def cluster_sums_triton(unit: Tensor, positive: Tensor, resolution: float) -> Tensor:
    """``G`` of :mod:`dcn.modularity`.

    Args:
        unit: ``[B, n, d]`` float32 directions of the tokens.
        positive: ``[B, k, n]`` float32 the assignment, clamped at 0.
        resolution: see :func:`dcn.modularity.modularity`.

    Returns:
        ``[B, k, n]``.

    """
    unit, positive = unit.contiguous(), positive.contiguous()
    batch, n, d = unit.shape
    k = positive.shape[1]
    grid = (triton.cdiv(n, _BLOCK), batch)
    degrees = unit.new_empty(batch, n)
    _degrees[grid](unit, degrees, n, d, block=_BLOCK, channels=_CHANNELS)
    total = degrees.sum(dim=1)
    total = torch.where(total > 0, total, torch.ones_like(total))
    result = torch.empty_like(positive)
    _cluster_sums[grid](
        unit,
        degrees / total[:, None],
        total,
        positive,
        result,
        n,
        d,
        resolution,
        clusters=k,
        padded=triton.next_power_of_2(k),
        block=_BLOCK,
        channels=_CHANNELS,
    )
    return result


@triton.jit
def _affinity(unit, rows, columns, n, d, block: tl.constexpr, channels: tl.constexpr):
    """``[block, block]`` of equation 8; 0 outside the image."""
    cosines = tl.zeros((block, block), tl.float32)
    for start in range(0, d, channels):
        part = start + tl.arange(0, channels)
        inside = part[None, :] < d
        left = tl.load(unit + rows[:, None] * d + part[None, :], (rows[:, None] < n) & inside, 0.0)
        right = tl.load(unit + columns[:, None] * d + part[None, :], (columns[:, None] < n) & inside, 0.0)
        cosines += tl.dot(left, tl.trans(right), input_precision="ieee")
    return tl.where(cosines < 0, 0.0, cosines)  # NaN stays


@triton.jit
def _degrees(unit, degrees, n, d, block: tl.constexpr, channels: tl.constexpr):
    """Fill ``degrees [B, n]``; one program computes a block of tokens of one image."""
    image = tl.program_id(1).to(tl.int64)
    unit += image * n * d
    rows = tl.program_id(0) * block + tl.arange(0, block)
    sums = tl.zeros((block,), tl.float32)
    for start in range(0, n, block):
        columns = start + tl.arange(0, block)
        sums += tl.sum(_affinity(unit, rows, columns, n, d, block, channels), axis=1)
    tl.store(degrees + image * n + rows, sums, rows < n)


@triton.jit
def _cluster_sums(
    unit,
    share,
    total,
    positive,
    result,
    n,
    d,
    resolution,
    clusters: tl.constexpr,
    padded: tl.constexpr,
    block: tl.constexpr,
    channels: tl.constexpr,
):
    """Fill ``result [B, k, n]``; one program computes a block of tokens of one image."""
    image = tl.program_id(1).to(tl.int64)
    unit += image * n * d
    share += image * n
    positive += image * clusters * n
    scale = 1.0 / tl.load(total + image)
    rows = tl.program_id(0) * block + tl.arange(0, block)
    own_share = tl.load(share + rows, rows < n, 0.0)
    numbers = tl.arange(0, padded)
    sums = tl.zeros((block, padded), tl.float32)
    for start in range(0, n, block):
        columns = start + tl.arange(0, block)
        weights = _affinity(unit, rows, columns, n, d, block, channels) * scale
        weights -= resolution * own_share[:, None] * tl.load(share + columns, columns < n, 0.0)[None, :]
        # A pair belongs to the first cluster that attains its maximum.
        best = tl.full((block, block), -1.0, tl.float32)
        winner = tl.zeros((block, block), tl.int32)
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
