"""The modularity loss on the device against the paper's formulas, value and gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.measurement import Measured
from benchmarks.gpu.scale import Scale
from benchmarks.training_step import grouped_tokens
from dcn.modularity import cosine_assignment, modularity

# Largest relative differences. The gradient is compared in float32: in float64 a pair of which two clusters
# have almost the same share may belong to the other one, so the plain formulas in float32 differ as much.
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-6, 1e-5
# Factor between our error against float64 and that of the plain formulas in float32.
ERROR_TOLERANCE = 1.5


def plain_modularity(
    tokens: Tensor, assignment: Tensor, resolution: float = 1.0, temperature: float | None = None
) -> Tensor:
    """Equations 7 to 10 as they are written: ``[B]``."""
    if temperature is not None:
        assignment = (assignment / temperature).softmax(dim=-1)
    unit = F.normalize(tokens, dim=-1)
    affinity = (unit @ unit.mT).clamp(min=0)  # [B, n, n]
    degrees = affinity.sum(dim=-1)  # [B, n]
    total = degrees.sum(dim=-1)  # [B]
    positive = assignment.clamp(min=0)
    # A pair of which clusters tie goes to the first of them, here and in :mod:`dcn.modularity`.
    delta = (
        (positive[:, :, None, :] * positive[:, None, :, :]).max(dim=-1).values
    )  # [B, n, n, k] to [B, n, n]
    null = resolution * degrees[:, :, None] * degrees[:, None, :] / total[:, None, None]
    return ((affinity - null) * delta).sum(dim=(1, 2)) / total


def measure(scale: Scale) -> Iterator[Measured]:
    """Relative errors, a row for each size and each pair of resolution and temperature.

    Raises:
        ArithmeticError: after the last row, if a difference was larger than its tolerance.

    """
    wrong = []
    for images, tokens in scale.loss_cases:
        for resolution, temperature in ((1.0, None), (1.1, None), (1.1, 0.1)):
            row = _compare(scale, images, tokens, resolution, temperature)
            wrong += [f"{row['what']}: {problem}" for problem in _problems(row)]
            yield row
    if wrong:
        raise ArithmeticError("the loss differs from the paper's formulas: " + "; ".join(wrong))


def _compare(
    scale: Scale, images: int, tokens: int, resolution: float, temperature: float | None
) -> Measured:
    torch.manual_seed(0)
    x = grouped_tokens(images, tokens).to(scale.device)
    step = tokens // scale.prototypes
    assignment = cosine_assignment(x, x[:, ::step][:, : scale.prototypes])
    plain_formulas = partial(plain_modularity, resolution=resolution, temperature=temperature)
    exact, exact_gradient = _value_and_gradient(plain_formulas, x.double(), assignment.double())
    _, plain_gradient = _value_and_gradient(plain_formulas, x, assignment)
    our_loss = partial(modularity, resolution=resolution, temperature=temperature)
    ours, gradient = _value_and_gradient(our_loss, x, assignment)
    return {
        "what": f"loss, {images} x {tokens} x {scale.dim}, k = {scale.prototypes}, "
        f"resolution {resolution}, temperature {temperature}",
        "value against float64, relative": _relative(ours, exact),
        "value against float64, absolute": _largest(ours, exact),
        "gradient against float32, relative": _relative(gradient, plain_gradient),
        "gradient against float32, absolute": _largest(gradient, plain_gradient),
        "gradient against float64, relative": _relative(gradient, exact_gradient),
        "plain float32 against float64, relative": _relative(plain_gradient, exact_gradient),
    }


def _problems(row: Measured) -> Iterator[str]:
    plain_error = float(row["plain float32 against float64, relative"])
    limits = {
        "value against float64, relative": VALUE_TOLERANCE,
        "gradient against float32, relative": GRADIENT_TOLERANCE,
        "gradient against float64, relative": max(GRADIENT_TOLERANCE, ERROR_TOLERANCE * plain_error),
    }
    for name, limit in limits.items():
        if not float(row[name]) <= limit:  # NaN is wrong, too
            yield f"{name} is {row[name]:.2g}, more than {limit:.2g}"


def _value_and_gradient(
    function: Callable[..., Tensor], tokens: Tensor, assignment: Tensor
) -> tuple[Tensor, Tensor]:
    leaf = assignment.clone().requires_grad_()
    value = function(tokens, leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def _relative(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference, as a share of the expected norm."""
    return float((found.double() - expected).norm() / expected.norm())


def _largest(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max())
