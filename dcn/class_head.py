"""A light head that reads the class of every patch off its tokens, so that regions need no crops."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcn.model_description import HeadDescription


class ClassHead(nn.Module):
    """One to three 1 x 1 convolutions on the tokens of one or several layers, with GELU between them.

    A 1 x 1 convolution is the same linear map for every patch. The tokens of each layer are normalized first
    (:func:`torch.nn.functional.layer_norm`), because layers differ in scale. The hidden width is that of a
    token.

    Args:
        dim: width ``d`` of a token.
        description: layers, depth and clusters; output 0 is the background.

    Example:
        >>> head = ClassHead(384, HeadDescription(layers=(-3, -1), depth=2, matched=tuple(range(21))))
        >>> head([torch.randn(2, 784, 384), torch.randn(2, 784, 384)]).shape
        torch.Size([2, 784, 21])

    """

    def __init__(self, dim: int, description: HeadDescription) -> None:
        super().__init__()
        hidden = [dim] * (description.depth - 1)
        widths = [dim * len(description.layers), *hidden, len(description.matched)]
        maps: list[nn.Module] = []
        for width, following in pairwise(widths):
            maps += [nn.Linear(width, following), nn.GELU()]
        self.maps = nn.Sequential(*maps[:-1])
        self._dim = dim

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Compute the logits ``[B, n, K + 1]`` of the tokens ``[B, n, d]`` of each layer."""
        normalized = [F.layer_norm(tokens, (self._dim,)) for tokens in layers]
        logits: Tensor = self.maps(torch.cat(normalized, dim=-1))  # [B, n, L * d] to [B, n, K + 1]
        return logits

    @torch.inference_mode()
    def probabilities(self, layers: Sequence[Tensor]) -> Tensor:
        """Compute the probabilities of the clusters, ``[B, n, K + 1]`` float32; every row sums to 1."""
        logits: Tensor = self(layers)
        return logits.float().softmax(dim=-1)
