"""The modularity loss (section 3.3) and its gradient, computed without an ``[n, n, k]`` tensor.

The affinity ``A`` (equation 8) is constant, and so is ``W = A / 2m - resolution * deg deg^T / (2m)^2``
with the degrees ``deg`` of the tokens. The modularity of a soft assignment ``S`` is

    q = sum_ij W_ij max_c S_ic S_jc                                      (equations 7 and 9)

and the loss is ``-q`` (equation 10). A pair ``(i, j)`` belongs to the cluster ``c(i, j)`` that maximizes
``S_ic S_jc``; the first cluster wins a tie. Let ``W_c`` be the matrix
``W`` where ``c(i, j) = c`` and zero elsewhere, and ``G_c = W_c S_c``. Then

    q = sum_c S_c . G_c        and        dq / dS_c = 2 G_c

so one pass over the pairs gives value and gradient. On a CPU the pass is compiled
(:mod:`dcn.kernels.modularity_cpu`), on CUDA with Triton as well (:mod:`dcn.kernels.modularity_triton`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcn.affinity import affinity_graph
from dcn.kernels.cpu_threads import in_parts
from dcn.kernels.modularity_cpu import sum_rows
from dcn.potts import potts_modularity

# Pairs of tokens held in memory at once: 8 MiB in float32, which stay in the processor's cache.
_BLOCK = 1 << 21
# Largest number of clusters for the CUDA kernel, which is compiled once for each number of clusters.
_MAX_UNROLLED = 16


def cosine_assignment(tokens: Tensor, centers: Tensor) -> Tensor:
    """Assign tokens softly to cluster centers by cosine similarity (equation 5).

    Args:
        tokens: ``[B, n, d]`` floating point.
        centers: ``[B, k, d]`` of the same dtype.

    Returns:
        ``[B, n, k]`` cosines in [-1, 1]. The cosine with an all-zero vector is 0.

    Example:
        >>> tokens = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])
        >>> centers = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]])
        >>> cosine_assignment(tokens, centers)
        tensor([[[ 1.,  0.,  0.],
                 [ 0.,  1., -1.]]])

    """
    # Dividing the [B, k, n] products costs less than normalizing the [B, n, d] tokens first. With the centers
    # on the right, their gradient would be a product with transposed tokens, six times as slow.
    lengths = torch.linalg.vector_norm(tokens, dim=-1).clamp(min=torch.finfo(tokens.dtype).tiny)  # [B, n]
    assignment: Tensor = (F.normalize(centers, dim=-1) @ tokens.mT) / lengths[..., None, :]  # [B, k, n]
    return assignment.mT


def modularity(
    tokens: Tensor,
    assignment: Tensor,
    resolution: float = 1.0,
    temperature: float | None = None,
    expected_affinity: float | None = None,
) -> Tensor:
    """Compute the modularity of soft assignments on the affinity graph of their tokens (equations 7 to 9).

    The modularity loss (equation 10) is its negative. The computation is in float32, or in float64 if the
    tokens are float64, also under autocast. In float16 the degrees overflow, and in bfloat16 the value is 5 %
    off.

    Args:
        tokens: ``[B, n, d]``. No gradient flows into them.
        assignment: ``[B, n, k]`` cosines of equation 5. Negative cosines count as zero.
        resolution: factor in front of ``k_i k_j / 2m`` (1 in the paper). A larger one finds smaller regions.
        temperature: divides the cosines before a softmax over the clusters. None uses the cosines
            themselves, as the paper does; ``docs/how-it-works/training.md`` compares the two.
        expected_affinity: affinity that the null model expects between any two tokens, see
            :mod:`dcn.potts`; the resolution then has no effect. It needs probabilities: a temperature, or an
            assignment that sums to 1. None is the null model of the paper: the product of the degrees.

    Returns:
        ``[B]``, differentiable with respect to ``assignment``. 0 for an image whose tokens are all zero.

    Example:
        >>> tokens = torch.eye(2).repeat_interleave(2, dim=0)[None]  # two groups of two equal tokens
        >>> modularity(tokens, cosine_assignment(tokens, torch.eye(2)[None]))
        tensor([0.5000])

    """
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    if temperature is not None:
        assignment = (assignment.to(dtype) / temperature).softmax(dim=-1)
    with torch.autocast(tokens.device.type, enabled=False):
        graph, assignment = tokens.detach().to(dtype), assignment.to(dtype)
        if expected_affinity is not None:
            return potts_modularity(graph, assignment.clamp(min=0), expected_affinity)
        value: Tensor = _Modularity.apply(graph, assignment, resolution)
    return value


@dataclass(frozen=True)
class ModularityLoss:
    """The modularity that training maximizes, with the arguments of :func:`modularity`.

    Attributes:
        resolution: see :func:`modularity`.
        temperature: likewise.
        expected_affinity: likewise.

    """

    resolution: float = 1.0
    temperature: float | None = None
    expected_affinity: float | None = None

    def modularity(self, tokens: Tensor, assignment: Tensor) -> Tensor:
        """Compute the modularity ``[B]`` of an assignment ``[B, n, k]`` of tokens ``[B, n, d]``."""
        return modularity(tokens, assignment, self.resolution, self.temperature, self.expected_affinity)


# The loss of the paper (equation 10).
PAPER_LOSS = ModularityLoss()


class _Modularity(torch.autograd.Function):
    """``q`` and its gradient, as in the docstring of this module."""

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
    """Compute ``G`` (see the docstring of this module), ``[B, n, k]``, by the fastest way on the device."""
    unrolled = tokens.dtype == torch.float32 and positive.shape[-1] <= _MAX_UNROLLED
    if tokens.is_cuda and unrolled and find_spec("triton"):
        from dcn.kernels.modularity_triton import cluster_sums_triton

        return cluster_sums_triton(F.normalize(tokens, dim=-1), positive.mT, resolution).mT
    if tokens.device.type == "cpu":
        return cluster_sums_cpu(tokens, positive, resolution)
    return cluster_sums(tokens, positive, resolution)


def cluster_sums_cpu(tokens: Tensor, positive: Tensor, resolution: float) -> Tensor:
    """Compute :func:`cluster_sums` with the compiled kernel in several threads.

    One thread computes an image, in a fixed order, so the result does not depend on the number of threads.
    """
    clusters = positive.mT.contiguous().numpy()  # [B, k, n]
    sums = np.empty_like(clusters)

    def compute(start: int, stop: int) -> None:
        # All images share one buffer: fresh pages would cost as much as the product that fills them.
        buffer = tokens.new_empty(1, tokens.shape[1], tokens.shape[1])
        for image in range(start, stop):
            affinity, share, total = affinity_graph(tokens[image : image + 1], out=buffer)
            graph = [part.numpy() for part in (affinity[0], share[0], resolution * share[0], 1 / total)]
            sum_rows(*graph, clusters[image], sums[image])  # type: ignore[call-arg]

    in_parts(compute, len(tokens))
    return torch.from_numpy(sums).mT


def cluster_sums(tokens: Tensor, positive: Tensor, resolution: float) -> Tensor:
    """Compute ``G`` (see the docstring of this module) with PyTorch's operations, a few images at a time.

    Args:
        tokens: ``[B, n, d]``.
        positive: ``[B, n, k]`` soft assignment, with negative values set to 0.
        resolution: as in :func:`modularity`.

    Returns:
        ``[B, n, k]``.

    """
    n = tokens.shape[1]
    result = torch.empty_like(positive)
    images = min(len(tokens), max(1, _BLOCK // (n * n)))
    # Every chunk uses the same memory: fresh pages would cost as much as the product that fills them.
    buffer = tokens.new_empty(images, n, n)
    for start in range(0, len(tokens), images):
        chunk = slice(start, start + images)
        graph = affinity_graph(tokens[chunk], out=buffer[: len(tokens[chunk])])
        result[chunk] = _sums_of_graph(*graph, positive[chunk].mT.contiguous(), resolution).mT
    return result


def _sums_of_graph(
    affinity: Tensor, share: Tensor, total: Tensor, positive: Tensor, resolution: float
) -> Tensor:
    """Compute ``G`` as ``[b, k, n]`` from a graph and ``positive [b, k, n]``. Overwrites ``affinity``."""
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
        # Each pair counts for the first cluster that attains its maximum, and for no other.
        for c in range(k):
            won = remaining * (part[:, c] * positive[:, c, None] == best)
            remaining -= won
            result[:, c, start : start + rows] = (won @ positive[:, c, :, None])[..., 0]
    return result
