"""The head is a few 1 x 1 convolutions on normalized tokens; PyTorch's convolution gives the same values."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from dcn.class_head import ClassHead
from dcn.model_description import HeadDescription


def make_head(layers: tuple[int, ...] = (-2, -1), depth: int = 2) -> ClassHead:
    torch.manual_seed(0)
    return ClassHead(8, HeadDescription(layers=layers, depth=depth, matched=(0, 2, 1, 3))).eval()


def by_convolutions(head: ClassHead, layers: list[Tensor]) -> Tensor:
    """Logits ``[B, n, K + 1]`` by ``conv2d`` on grids of tokens, each layer standardized over its channels."""
    standard = []
    for tokens in layers:
        mean, variance = tokens.mean(dim=-1, keepdim=True), tokens.var(dim=-1, keepdim=True, correction=0)
        standard.append((tokens - mean) / (variance + 1e-5).sqrt())
    side = round(layers[0].shape[1] ** 0.5)
    grid = torch.cat(standard, dim=-1).mT.unflatten(2, (side, side))  # [B, L * d, side, side]
    linear = [part for part in head.maps if isinstance(part, nn.Linear)]
    for number, part in enumerate(linear):
        grid = F.conv2d(F.gelu(grid) if number else grid, part.weight[:, :, None, None], part.bias)
    logits: Tensor = grid.flatten(2).mT
    return logits


@pytest.mark.parametrize("layers", [(-1,), (-3, -1)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_head_is_convolutions_of_one_pixel(layers: tuple[int, ...], depth: int) -> None:
    head = make_head(layers, depth)
    tokens = [10**number * torch.randn(2, 9, 8) + number for number in range(len(layers))]
    torch.testing.assert_close(head(tokens), by_convolutions(head, tokens))
    assert sum(isinstance(part, nn.Linear) for part in head.maps) == depth


def test_probabilities_sum_to_one_and_follow_the_logits() -> None:
    head, tokens = make_head(), [torch.randn(1, 4, 8), torch.randn(1, 4, 8)]
    probabilities = head.probabilities(tokens)
    torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(1, 4))
    assert torch.equal(probabilities.argmax(dim=-1), head(tokens).argmax(dim=-1))


@pytest.mark.parametrize("values", [{"layers": ()}, {"depth": 0}, {"depth": 4}, {"layers": (0,)}])
def test_other_heads_cannot_be_described(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HeadDescription.model_validate({"layers": (-1,), "depth": 1, "matched": (0,), **values})
