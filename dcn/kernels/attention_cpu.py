"""Attention of a few queries over the many tokens of an image, compiled for the CPU.

As matrix products these are too thin to be fast, and each would fetch the tokens of the whole batch from
memory again. Here a few tokens are finished while they are in the first-level cache. With
``P = softmax(Q X^T)`` and a gradient ``G`` of ``P X``:

    forward   scores Q X^T,  then  P X, corrected whenever a score is the largest so far
    backward  scores G X^T,  then  ((scores - rowsum(G * P X)) * P) X  for the queries

The tokens get no gradient, because they are data.

Reference: the last line of :func:`dcn.network.attend`. Test:
``tests/dcn/kernels/test_products_and_attention.py``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcn.kernels.cpu_threads import FAST_MATH, in_parts

# Number of tokens that are handled together. Each number of the queries, and of the sums, is loaded once for
# the products with all of them.
_TILE = 4


class TokenAttention(torch.autograd.Function):
    """``softmax(Q X^T) X`` of ``Q [B, q, d]`` and ``X [B, n, d]``, both float32 or float64: ``[B, q, d]``."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, tokens: Tensor) -> Tensor:
        queries, tokens = queries.contiguous(), tokens.contiguous()
        shares = queries.new_empty(*queries.shape[:2], tokens.shape[1])  # [B, q, n]
        result = torch.empty_like(queries)
        in_parts(_attend, len(tokens), queries, tokens, shares, result)
        ctx.save_for_backward(tokens, shares, result)
        return result

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        tokens, shares, attended = ctx.saved_tensors
        gradient = grad_outputs[0].contiguous()
        inner = (gradient * attended).sum(dim=-1)  # [B, q]
        result = torch.empty_like(gradient)
        in_parts(_attend_backward, len(tokens), gradient, tokens, shares, inner, result)
        return result, None


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _attend(
    queries: npt.NDArray[Any],
    tokens: npt.NDArray[Any],
    shares: npt.NDArray[Any],
    result: npt.NDArray[Any],
    start: int,
    stop: int,
) -> None:
    """Fill ``shares [B, q, n]`` and ``result [B, q, d]`` for the images from ``start`` to before ``stop``."""
    _, count, n = shares.shape
    one = shares.dtype.type(1)
    scores = np.empty((count, _TILE), shares.dtype)
    largest, total = np.empty(count, shares.dtype), np.empty(count, shares.dtype)
    for image in range(start, stop):
        result[image] = 0
        largest[:] = -np.inf
        total[:] = 0
        for first in range(0, n, _TILE):
            tile = tokens[image, first : first + _TILE]
            _scores(queries[image], tile, scores)
            for query in range(count):
                before = largest[query]
                for j in range(len(tile)):
                    largest[query] = max(largest[query], scores[query, j])
                if largest[query] > before:  # correct the sums that used a smaller maximum
                    correction = np.exp(before - largest[query])
                    total[query] *= correction
                    _scale(shares[image, query, :first], correction)
                    _scale(result[image, query], correction)
                for j in range(len(tile)):
                    scores[query, j] = np.exp(scores[query, j] - largest[query])
                    shares[image, query, first + j] = scores[query, j]
                    total[query] += scores[query, j]
            _add_weighted(scores, tile, result[image])
        for query in range(count):
            _scale(shares[image, query], one / total[query])
            _scale(result[image, query], one / total[query])


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _attend_backward(
    gradient: npt.NDArray[Any],
    tokens: npt.NDArray[Any],
    shares: npt.NDArray[Any],
    inner: npt.NDArray[Any],
    result: npt.NDArray[Any],
    start: int,
    stop: int,
) -> None:
    """Fill ``result [B, q, d]``, the gradient of the queries, for images ``start`` to before ``stop``."""
    _, count, n = shares.shape
    scores = np.empty((count, _TILE), shares.dtype)
    for image in range(start, stop):
        result[image] = 0
        for first in range(0, n, _TILE):
            tile = tokens[image, first : first + _TILE]
            _scores(gradient[image], tile, scores)
            for query in range(count):
                for j in range(len(tile)):
                    scores[query, j] -= inner[image, query]
                    scores[query, j] *= shares[image, query, first + j]
            _add_weighted(scores, tile, result[image])


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _scale(row: npt.NDArray[Any], factor: float) -> None:
    """Multiply ``row [m]`` in place. As an expression of arrays it would take 30 MB more to compile."""
    for j in range(len(row)):
        row[j] *= factor


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _scores(queries: npt.NDArray[Any], tile: npt.NDArray[Any], scores: npt.NDArray[Any]) -> None:
    """``scores [q, t] = queries [q, d] tile [t, d]^T`` of at most ``_TILE`` tokens."""
    count, dim = queries.shape
    zero = tile.dtype.type(0)
    if len(tile) == _TILE:
        token0, token1, token2, token3 = tile[0], tile[1], tile[2], tile[3]
        for query in range(count):
            total0 = total1 = total2 = total3 = zero
            for e in range(dim):
                total0 += queries[query, e] * token0[e]
                total1 += queries[query, e] * token1[e]
                total2 += queries[query, e] * token2[e]
                total3 += queries[query, e] * token3[e]
            scores[query, 0], scores[query, 1] = total0, total1
            scores[query, 2], scores[query, 3] = total2, total3
    else:
        for query in range(count):
            for j in range(len(tile)):
                total0 = zero
                for e in range(dim):
                    total0 += queries[query, e] * tile[j, e]
                scores[query, j] = total0


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _add_weighted(weights: npt.NDArray[Any], tile: npt.NDArray[Any], result: npt.NDArray[Any]) -> None:
    """``result [q, d] += weights [q, t] tile [t, d]`` of at most ``_TILE`` tokens."""
    count, dim = result.shape
    if len(tile) == _TILE:
        token0, token1, token2, token3 = tile[0], tile[1], tile[2], tile[3]
        for query in range(count):
            weight0, weight1 = weights[query, 0], weights[query, 1]
            weight2, weight3 = weights[query, 2], weights[query, 3]
            for e in range(dim):
                result[query, e] += (
                    weight0 * token0[e] + weight1 * token1[e] + weight2 * token2[e] + weight3 * token3[e]
                )
    else:
        for query in range(count):
            for j in range(len(tile)):
                for e in range(dim):
                    result[query, e] += weights[query, j] * tile[j, e]
