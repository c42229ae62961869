"""Attention of a few queries over the many tokens of an image, compiled for the CPU.

As matrix products these are too thin to be fast, and each would fetch the tokens of the whole batch from
memory anew. Here an image is finished while its tokens are in the cache: with ``P = softmax(Q X^T)`` and a
gradient ``G`` of ``P X``,

    forward   scores Q X^T,  then  P X
    backward  scores G X^T,  then  ((scores - rowsum(G * P X)) * P) X  for the queries

The tokens get no gradient: they are data.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcn.cpu_threads import FAST_MATH, in_parts


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
    for image in range(start, stop):
        _scores(queries[image], tokens[image], shares[image])
        for query in range(queries.shape[1]):
            _softmax(shares[image, query])
        _weighted_sums(shares[image], tokens[image], result[image])


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
    """Fill ``result [B, q, d]``, the gradient of the queries, likewise."""
    scores = np.empty(shares.shape[1:], shares.dtype)  # [q, n]
    for image in range(start, stop):
        _scores(gradient[image], tokens[image], scores)
        for query in range(scores.shape[0]):
            for j in range(scores.shape[1]):
                scores[query, j] = (scores[query, j] - inner[image, query]) * shares[image, query, j]
        _weighted_sums(scores, tokens[image], result[image])


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _scores(queries: npt.NDArray[Any], tokens: npt.NDArray[Any], scores: npt.NDArray[Any]) -> None:
    """``scores [q, n] = queries [q, d] tokens [n, d]^T``, token by token."""
    zero = tokens.dtype.type(0)
    for j in range(tokens.shape[0]):
        for query in range(queries.shape[0]):
            total = zero
            for e in range(tokens.shape[1]):
                total += queries[query, e] * tokens[j, e]
            scores[query, j] = total


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _weighted_sums(weights: npt.NDArray[Any], tokens: npt.NDArray[Any], result: npt.NDArray[Any]) -> None:
    """``result [q, d] = weights [q, n] tokens [n, d]``, token by token."""
    for query in range(result.shape[0]):
        for e in range(result.shape[1]):
            result[query, e] = 0
    for j in range(tokens.shape[0]):
        for query in range(weights.shape[0]):
            weight = weights[query, j]
            for e in range(tokens.shape[1]):
                result[query, e] += weight * tokens[j, e]


@numba.njit(nogil=True, fastmath=FAST_MATH)
def _softmax(row: npt.NDArray[Any]) -> None:
    """Softmax of ``[n]`` in place."""
    largest = row[0]
    for j in range(len(row)):
        largest = max(largest, row[j])
    total = row.dtype.type(0)
    for j in range(len(row)):
        row[j] = np.exp(row[j] - largest)
        total += row[j]
    for j in range(len(row)):
        row[j] /= total
