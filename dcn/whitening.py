"""Whitening: centers tokens or embeddings, and brings the spread of their principal directions together.

Tokens of a frozen ViT share a large mean, and a few directions carry most of their variance. Cosines of plain
tokens mostly measure these. Between whitened tokens they tell objects apart
(``docs/how-it-works/training.md``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcn.errors import InvalidOptionError

# A direction with a smaller share of the largest variance is noise, which must not be enlarged further.
_LEAST_VARIANCE = 1e-4


class TokenWhitening(nn.Module):
    """Maps tokens to whitened tokens. :meth:`fit` computes the map from tokens of a data set.

    A token is scaled to unit length. Then the mean of the data set is subtracted, and the rest is projected
    onto the directions of largest variance. Each coordinate is divided by the square root of its standard
    deviation, which is half of a full whitening: a full one enlarges noise. At last the token is scaled to
    the length ``sqrt(p)``, as a vector from N(0, 1) has on average.

    Args:
        dim: width ``d`` of the tokens.
        directions: largest number of directions. The width ``p`` of whitened tokens is never above ``d``.

    Example:
        >>> whitening = TokenWhitening(dim=384, directions=128)
        >>> tokens = torch.randn(2, 784, 384)
        >>> whitening.fit(tokens.flatten(0, 1))
        >>> whitening(tokens).shape
        torch.Size([2, 784, 128])

    """

    mean: Tensor
    projection: Tensor

    def __init__(self, dim: int, directions: int) -> None:
        super().__init__()
        self.width = min(dim, directions)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("projection", torch.zeros(dim, self.width).fill_diagonal_(1))

    @torch.no_grad()
    def fit(self, tokens: Tensor) -> None:
        """Compute mean, directions and their scales from tokens ``[m, d]`` of many images.

        Raises:
            InvalidOptionError: there is no token.

        """
        if not len(tokens):
            raise InvalidOptionError("whitening needs at least one token, not 0; give tokens of some images")
        unit = F.normalize(tokens.double(), dim=-1)
        mean = unit.mean(dim=0)
        spread = (unit - mean).mT @ (unit - mean) / len(unit)  # [d, d]
        variances, directions = torch.linalg.eigh(spread)  # in ascending order
        kept = variances[-self.width :].clamp(min=_LEAST_VARIANCE * float(variances[-1]))
        scales = torch.where(kept > 0, kept, torch.ones_like(kept)) ** -0.25
        self.mean.copy_(mean)
        self.projection.copy_(directions[:, -self.width :] * scales)

    def forward(self, tokens: Tensor) -> Tensor:
        """Whiten tokens ``[..., d]``. Returns ``[..., p]`` in the precision of the map."""
        unit = F.normalize(tokens.to(self.mean.dtype), dim=-1)
        whitened: Tensor = F.normalize((unit - self.mean) @ self.projection, dim=-1)
        return whitened * math.sqrt(self.width)


def whitening_of(state: Mapping[str, Tensor]) -> TokenWhitening:
    """Build a whitening from its ``state_dict``.

    Raises:
        ValueError: the tensors do not fit each other, or are not finite.

    """
    mean, projection = state["mean"], state["projection"]
    if (
        mean.ndim != 1
        or projection.ndim != 2
        or not 1 <= projection.shape[1] <= projection.shape[0] == len(mean)
        or not all(value.isfinite().all() for value in (mean, projection))
    ):
        raise ValueError(
            f"tensors of the shapes {list(mean.shape)} and {list(projection.shape)} are no whitening"
        )
    whitening = TokenWhitening(*projection.shape)
    whitening.load_state_dict(dict(state))
    return whitening


@torch.no_grad()
def whiten_known(whitening: TokenWhitening, embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Whiten embeddings ``[..., d]`` to ``[..., p]``. Zeros, which mean that there is none, stay zeros."""
    whitened: npt.NDArray[np.float32] = whitening(torch.from_numpy(embeddings)).numpy()
    return whitened * embeddings.any(axis=-1, keepdims=True)
