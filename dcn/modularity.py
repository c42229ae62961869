"""The modularity loss (section 3.3), without ever holding an ``[n, n, k]`` tensor.

With the affinity ``A`` (equation 8) constant, so is ``W = A / 2m - resolution * k k^T / (2m)^2``, and
the modularity of a soft assignment ``S`` is

    q = sum_ij W_ij max_c S_ic S_jc                                      (equations 7, 9 and 10)

Each pair belongs to the cluster ``c(i, j)`` that attains its maximum. With ``W_c`` the matrix ``W``
where ``c(i, j) = c`` and zero elsewhere, and ``G_c = W_c S_c``,

    q = sum_c S_c . G_c        and        dq / dS_c = 2 G_c

so one pass over the pairs gives value and gradient. On a CPU it is compiled
(:mod:`dcn.kernels.modularity_cpu`), on CUDA it writes nothing ``[n, n]`` to memory where Triton is there
(:mod:`dcn.kernels.modularity_triton`).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dcn.affinity import affinity_graph
from dcn.kernels.modularity_cpu import cluster_sums_cpu

# Pairs of tokens that are held at once: 8 MiB in float32, which stay in the cache.
_BLOCK = 1 << 21
# Clusters for which the CUDA kernel is compiled, once for each number of them.
_MAX_UNROLLED = 16


def cosine_assignment(tokens: Tensor, centers: Tensor) -> Tensor:
    """Soft assignment of tokens to cluster centers (equation 5).

    Args:
        tokens: ``[B, n, d]`` floating point.
        centers: ``[B, k, d]`` of the same dtype.

    Returns:
        ``[B, n, k]`` cosines in [-1, 1]. The cosine with an all-zero vector is 0.

    """
    # Dividing the [B, k, n] products costs less than normalizing the [B, n, d] tokens first. Were the centers
    # on the right, their gradient would be a product with the tokens transposed, six times as slow.
    lengths = torch.linalg.vector_norm(tokens, dim=-1).clamp(min=torch.finfo(tokens.dtype).tiny)  # [B, n]
    assignment: Tensor = (F.normalize(centers, dim=-1) @ tokens.mT) / lengths[..., None, :]  # [B, k, n]
    return assignment.mT


def modularity(
    tokens: Tensor, assignment: Tensor, resolution: float = 1.0, temperature: float | None = None
) -> Tensor:
    """Modularity of soft assignments on the affinity graph of their tokens (equations 7 to 9).

    The loss of equation 10 is its negative. It is computed in float32 (or float64 if the tokens are),
    also under autocast: the degrees overflow float16, and bfloat16 is 5 % off.

    Args:
        tokens: ``[B, n, d]``; no gradient flows into them.
        assignment: ``[B, n, k]`` cosines of equation 5; negative ones count as zero.
        resolution: factor in front of ``k_i k_j / 2m`` (1 in the paper). Larger finds smaller regions.
        temperature: the cosines are divided by it and go through a softmax over the clusters first; None
            takes them as they are (the paper). ``docs/how-it-works/training.md`` says what it is good for.

    Returns:
        ``[B]``, differentiable with respect to ``assignment``. 0 for an image whose tokens are all zero.

    """
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    if temperature is not None:
        assignment = (assignment.to(dtype) / temperature).softmax(dim=-1)
    with torch.autocast(tokens.device.type, enabled=False):
        value: Tensor = _Modularity.apply(tokens.detach().to(dtype), assignment.to(dtype), resolution)
    return value


class _Modularity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, assignment: Tensor, resolution: float) -> Tensor:
        positive = assignment.clamp(min=0)
        gradient = _all_cluster_sums(tokens, positive, resolution)
        ctx.save_for_backward(gradient, assignment)
        return (positive * gradient).sum(dim=(1, 2))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor, None]:
        gradient, assignment = ctx.saved_tensors
        return None, 2 * grad_outputs[0][:, None, None] * gradient * (assignment > 0), None


def _all_cluster_sums(tokens: Tensor, positive: Tensor, resolution: float) -> Tensor:
    """``G`` of the module's docstring, ``[B, n, k]``, by what the device has."""
    unrolled = tokens.dtype == torch.float32 and positive.shape[-1] <= _MAX_UNROLLED
    if tokens.is_cuda and unrolled and find_spec("triton"):
        from dcn.kernels.modularity_triton import cluster_sums_triton

        return cluster_sums_triton(F.normalize(tokens, dim=-1), positive.mT, resolution).mT
    if tokens.device.type == "cpu":
        return cluster_sums_cpu(tokens, positive, resolution)
    return cluster_sums(tokens, positive, resolution)


def cluster_sums(tokens: Tensor, positive: Tensor, resolution: float) -> Tensor:
    """``G`` of the module's docstring with PyTorch's own operations, a few images at a time.

    Args:
        tokens: ``[B, n, d]``.
        positive: ``[B, n, k]`` the assignment, clamped at 0.
        resolution: as in :func:`modularity`.

    Returns:
        ``[B, n, k]``.

    """
    n = tokens.shape[1]
    result = torch.empty_like(positive)
    images = min(len(tokens), max(1, _BLOCK // (n * n)))
    # The same memory for every chunk: fresh pages would cost as much as the product that fills them.
    buffer = tokens.new_empty(images, n, n)
    for start in range(0, len(tokens), images):
        chunk = slice(start, start + images)
        graph = affinity_graph(tokens[chunk], out=buffer[: len(tokens[chunk])])
        result[chunk] = _sums_of_graph(*graph, positive[chunk].mT.contiguous(), resolution).mT
    return result


def _sums_of_graph(
    affinity: Tensor, share: Tensor, total: Tensor, positive: Tensor, resolution: float
) -> Tensor:
    """``[b, k, n]`` of a graph and of ``positive [b, k, n]``. Uses up ``affinity``."""
    b, k, n = positive.shape
    weights = affinity.div_(total[:, None, None])
    weights.baddbmm_(share[:, :, None], share[:, None, :], alpha=-resolution)
    rows = max(1, _BLOCK // (b * n))
    result = torch.empty_like(positive)
    for start in range(0, n, rows):
        part = positive[:, :, start : start + rows, None]  # [b, k, r, 1]
        remaining = weights[:, start : start + rows]  # [b, r, n]
        best = part[:, 0] * positive[:, 0, None]
        for c in range(1, k):
            best = torch.maximum(best, part[:, c] * positive[:, c, None])
        # A pair goes to the first cluster that attains its maximum, and then leaves the block.
        for c in range(k):
            won = remaining * (part[:, c] * positive[:, c, None] == best)
            remaining -= won
            result[:, c, start : start + rows] = (won @ positive[:, c, :, None])[..., 0]
    return result
