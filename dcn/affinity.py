"""The affinity graph of an image: cosine similarities of its tokens, cut at zero (equation 8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dcn.kernels.products import product

# Rows of the affinity matrix that one product computes.
_STRIP = 112


def affinity_graph(tokens: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Build the affinity graphs of the tokens of a few images (equation 8).

    Args:
        tokens: ``[b, n, d]`` floating point.
        out: memory ``[b, n, n]`` for the affinities; None allocates it.

    Returns:
        ``A``, ``[b, n, n]``: affinity of each pair of tokens, in [0, 1].
        ``k_i / 2m``, ``[b, n]``: share of each token in the sum of all degrees.
        ``2m``, ``[b]``: sum of all degrees.
        An image whose tokens are all zero has affinities and shares of 0 and a sum of 1.

    """
    unit = F.normalize(tokens, dim=-1)
    n = tokens.shape[1]
    affinity = tokens.new_empty(len(tokens), n, n) if out is None else out
    for directions, square in zip(unit, affinity, strict=True):  # [n, d], [n, n]
        # The matrix is symmetric: compute each strip of rows from the diagonal on, and mirror it.
        for start in range(0, n, _STRIP):
            stop = min(start + _STRIP, n)
            cosines = product(directions[start:stop], directions[start:])
            torch.clamp(cosines, min=0, out=square[start:stop, start:])
            square[stop:, start:stop] = square[start:stop, stop:].mT
    degrees = affinity.sum(dim=-1)
    total = degrees.sum(dim=-1)
    total = torch.where(total > 0, total, torch.ones_like(total))
    return affinity, degrees / total[:, None], total
