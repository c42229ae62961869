"""Matrix products in float32, as fast as the processor allows.

On a CPU PyTorch gives these products to MKL, which uses half of the width of AMD's vector registers. oneDNN
is part of PyTorch too and uses all of it: 220 instead of 100 GFLOP/s a core, measured on an EPYC (Zen 5), and
76 instead of 69 on one of Zen 4. So products go to oneDNN, forward and backward.

PyTorch's function for this is internal: ``torch.compile`` calls it for linear layers. So its result is
compared with ``torch.nn.functional.linear`` before its first use, and :data:`SWITCH` turns it off.

Reference: ``a @ b.mT``. Test: ``tests/dcn/kernels/test_products_and_attention.py``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ``0`` in this variable of the environment: products go the usual way of PyTorch. Read at the first product.
SWITCH = "DCN_ONEDNN"
# Absolute tolerance of the check, for products of order 1. Two orders of summation differ by less than 1e-6.
_TOLERANCE = 1e-5
_log = logging.getLogger(__name__)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Compute ``a @ b.mT`` of ``a [m, d]`` and ``b [n, d]``: ``[m, n]``, differentiable in both."""
    if torch.compiler.is_exporting():  # oneDNN's product has no meaning in a graph for another software
        return F.linear(a, b)
    if a.dtype != torch.float32 or not _is_faster(a, b):
        return F.linear(a, b)
    if not torch.is_grad_enabled():
        return _multiply(a, b)
    result: Tensor = _Product.apply(a, b)
    return result


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """Map ``[..., d_in]`` to ``[..., d_out]`` as ``torch.nn.functional.linear``, without a gradient.

    Args:
        rows: ``[..., d_in]``.
        weight: ``[d_out, d_in]``.
        bias: ``[d_out]``, or None.
        gelu: apply GELU to the result, each part while it is in the processor's cache.

    """
    if torch.compiler.is_exporting() or not _is_faster(rows, weight):
        result = F.linear(rows, weight, bias)
        return F.gelu(result) if gelu else result
    function = _onednn()
    assert function is not None
    return function(rows, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else "")


def _is_faster(*tensors: Tensor) -> bool:
    """Whether oneDNN multiplies these tensors, and in a way of its own."""
    if any(tensor.device.type != "cpu" for tensor in tensors) or _onednn() is None:
        return False
    dtypes = {tensor.dtype for tensor in tensors}
    return dtypes == {torch.float32} or (dtypes == {torch.bfloat16} and _has_bfloat16())


@cache
def _has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Linear(nn.Linear):
    """``nn.Linear`` that multiplies with :func:`product`: the same parameters, names and initialization."""

    def forward(self, rows: Tensor) -> Tensor:
        """Map ``[..., d_in]`` to ``[..., d_out]``."""
        result = product(rows.flatten(0, -2), self.weight).view(*rows.shape[:-1], self.out_features)
        return result if self.bias is None else result + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _multiply(a, b)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = grad_outputs  # [m, n]
        a, b = ctx.saved_tensors
        for_a = _multiply(gradient, b.mT) if ctx.needs_input_grad[0] else None  # [m, d]
        for_b = _multiply(gradient.mT, a.mT) if ctx.needs_input_grad[1] else None  # [n, d]
        return for_a, for_b


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    onednn = _onednn()
    assert onednn is not None
    return onednn(a, b, None, "none", [], "")


@cache
def _onednn() -> Callable[..., Tensor] | None:
    """Find oneDNN's product of rows and weights; None if it is switched off, missing, or wrong."""
    if os.environ.get(SWITCH) == "0" or not torch.backends.mkldnn.is_available():
        return None
    function: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return function if function is not None and _is_right(function) else None


@torch.no_grad()
def _is_right(function: Callable[..., Tensor]) -> bool:
    """Compare products with those of PyTorch, on the shapes and strides of a training step and of a ViT."""
    generator = torch.Generator().manual_seed(0)
    for m, n, d in ((160, 384, 384), (160, 1536, 384), (160, 384, 1536), (112, 784, 384)):
        a, b = (torch.randn(rows, d, generator=generator) / d**0.5 for rows in (m, n))
        bias = torch.randn(n, generator=generator)
        # Rows along the memory as in forward, columns along the memory as in backward.
        for left, right in ((a, b), (a.mT.contiguous().mT, b.mT.contiguous().mT)):
            try:
                plain = function(left, right, None, "none", [], "") - F.linear(left, right)
                of_vit = function(left, right, bias, "gelu", [], "none") - F.gelu(F.linear(left, right, bias))
            except (RuntimeError, TypeError) as error:
                _log.info("products go the usual way of PyTorch, because oneDNN's function failed: %s", error)
                return False
            difference = max(plain.abs().max().item(), of_vit.abs().max().item())
            if not difference <= _TOLERANCE:
                _log.info("products go the usual way of PyTorch: oneDNN's differ by %g", difference)
                return False
    return True
