"""Matrix products in float32 as fast as the processor allows.

On a CPU PyTorch gives them to MKL, which leaves half of the width of AMD's vector registers unused. oneDNN,
which PyTorch carries too, uses all of it; so the products of a training step go there, forward and backward.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What torch.compile calls for a linear layer in float32. Builds without oneDNN lack it.
_ONEDNN: Any = None
if torch.backends.mkldnn.is_available():
    _ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.mT`` of ``a [m, d]`` and ``b [n, d]``: ``[m, n]``, differentiable with respect to both."""
    if _ONEDNN is None or a.device.type != "cpu" or a.dtype != torch.float32 or b.dtype != torch.float32:
        return F.linear(a, b)
    if not torch.is_grad_enabled():
        return _onednn(a, b)
    result: Tensor = _Product.apply(a, b)
    return result


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`product`: the same parameters, names and initialization."""

    def forward(self, rows: Tensor) -> Tensor:
        """``[..., d_in]`` to ``[..., d_out]``."""
        result = product(rows.flatten(0, -2), self.weight).view(*rows.shape[:-1], self.out_features)
        return result if self.bias is None else result + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _onednn(a, b)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = grad_outputs  # [m, n]
        a, b = ctx.saved_tensors
        for_a = _onednn(gradient, b.mT) if ctx.needs_input_grad[0] else None
        for_b = _onednn(gradient.mT, a.mT) if ctx.needs_input_grad[1] else None
        return for_a, for_b


def _onednn(a: Tensor, b: Tensor) -> Tensor:
    result: Tensor = _ONEDNN(a, b, None, "none", [], "")
    return result
