"""The modularity loss (section 3.3), without ever holding an ``[n, n, k]`` tensor.

With the affinity ``A`` (equation 8) constant, so is ``W = A / 2m - resolution * k k^T / (2m)^2``, and
the modularity of a soft assignment ``S`` is

    q = sum_ij W_ij max_c S_ic S_jc                                      (equations 7, 9 and 10)

Each pair belongs to the cluster ``c(i, j)`` that attains its maximum. With ``W_c`` the matrix ``W``
where ``c(i, j) = c`` and zero elsewhere, and ``G_c = W_c S_c``,

    q = sum_c S_c . G_c        and        dq / dS_c = 2 G_c

so one pass in blocks of rows, small enough for the processor's cache, gives value and gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Elements of one block: on a CPU a few arrays of this size stay in the second-level cache.
_CPU_BLOCK = 1 << 17
_CUDA_BLOCK = 1 << 25


def cosine_assignment(tokens: Tensor, centers: Tensor) -> Tensor:
    """Soft assignment of tokens to cluster centers (equation 5).

    Args:
        tokens: ``[B, n, d]`` floating point.
        centers: ``[B, k, d]`` of the same dtype.

    Returns:
        ``[B, n, k]`` cosines in [-1, 1]. The cosine with an all-zero vector is 0.

    """
    # Dividing the [B, n, k] products costs less than normalizing the [B, n, d] tokens first.
    lengths = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True).clamp(min=torch.finfo(tokens.dtype).tiny)
    assignment: Tensor = (tokens @ F.normalize(centers, dim=-1).mT) / lengths
    return assignment


def modularity(tokens: Tensor, assignment: Tensor, resolution: float = 1.0) -> Tensor:
    """Modularity of soft assignments on the affinity graph of their tokens (equations 7 to 9).

    The loss of equation 10 is its negative. It is computed in float32 (or float64 if the tokens are),
    also under autocast: the degrees overflow float16, and bfloat16 is 5 % off.

    Args:
        tokens: ``[B, n, d]``; no gradient flows into them.
        assignment: ``[B, n, k]`` cosines of equation 5; negative ones count as zero.
        resolution: factor in front of ``k_i k_j / 2m`` (1 in the paper). Larger finds smaller regions.

    Returns:
        ``[B]``, differentiable with respect to ``assignment``. 0 for an image whose tokens are all zero.

    """
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    with torch.autocast(tokens.device.type, enabled=False):
        value: Tensor = _Modularity.apply(tokens.detach().to(dtype), assignment.to(dtype), resolution)
    return value


class _Modularity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, assignment: Tensor, resolution: float) -> Tensor:
        positive = assignment.clamp(min=0)
        batch, n, _ = tokens.shape
        block = _CPU_BLOCK if tokens.device.type == "cpu" else _CUDA_BLOCK
        images = max(1, block // (n * n))
        gradient = torch.empty_like(positive)
        weights = tokens.new_empty(min(images, batch), n, n)
        for start in range(0, batch, images):
            chunk = slice(start, start + images)
            out = weights[: len(tokens[chunk])]
            modularity_weights(tokens[chunk], resolution, out=out)
            gradient[chunk] = _half_gradient(out, positive[chunk], block)
        ctx.save_for_backward(gradient, assignment)
        return (positive * gradient).sum(dim=(1, 2))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor, None]:
        gradient, assignment = ctx.saved_tensors
        return None, 2 * grad_outputs[0][:, None, None] * gradient * (assignment > 0), None


def _half_gradient(weights: Tensor, positive: Tensor, block: int) -> Tensor:
    """``G`` of the module's docstring for a few images, ``[b, n, k]``. Uses up ``weights``."""
    b, n, k = positive.shape
    rows = max(1, block // (b * n))
    clusters = positive.mT.contiguous()  # [b, k, n]
    result = torch.empty_like(clusters)
    # Masks are kept in the floating-point type: mixing types costs several times the arithmetic.
    best, product, mask = weights.new_empty(3, b, min(rows, n), n)
    for start in range(0, n, rows):
        part = clusters[:, :, start : start + rows]  # [b, k, r]
        r = part.shape[-1]
        remaining = weights[:, start : start + r]
        best, product, mask = best[:, :r], product[:, :r], mask[:, :r]
        torch.mul(part[:, 0, :, None], clusters[:, 0, None], out=best)
        for c in range(1, k):
            torch.mul(part[:, c, :, None], clusters[:, c, None], out=product)
            torch.maximum(best, product, out=best)
        # A pair goes to the first cluster that attains its maximum, and then leaves the block.
        for c in range(k):
            torch.mul(part[:, c, :, None], clusters[:, c, None], out=product)
            torch.eq(product, best, out=mask)
            torch.mul(remaining, mask, out=product)
            remaining -= product
            torch.sum(product.mul_(clusters[:, c, None]), dim=-1, out=result[:, c, start : start + r])
    return result.mT


def modularity_weights(tokens: Tensor, resolution: float = 1.0, out: Tensor | None = None) -> Tensor:
    """``W = A / 2m - resolution * k k^T / (2m)^2`` with the affinity ``A`` of equation 8.

    Args:
        tokens: ``[b, n, d]``.
        resolution: as in :func:`modularity`.
        out: ``[b, n, n]`` to write into.

    Returns:
        ``[b, n, n]``; zero for an image whose tokens are all zero.

    """
    unit = F.normalize(tokens, dim=-1)
    affinity = torch.matmul(unit, unit.mT, out=out).clamp_(min=0)  # [b, n, n]
    degrees = affinity.sum(dim=-1)
    total = degrees.sum(dim=-1)  # 2m
    total = torch.where(total > 0, total, torch.ones_like(total))
    share = degrees / total[:, None]  # k_i / 2m
    affinity /= total[:, None, None]
    return affinity.baddbmm_(share[:, :, None], share[:, None, :], alpha=-resolution)
