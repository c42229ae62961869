"""The modularity with a constant null model, against its definition as a sum over pairs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dcn.modularity import cosine_assignment, modularity
from dcn.potts import potts_modularity


def by_definition(tokens: torch.Tensor, probabilities: torch.Tensor, expected: float) -> float:
    unit = F.normalize(tokens, dim=-1)
    n = len(tokens)
    total = 0.0
    for i in range(n):
        for j in range(n):
            together = float(probabilities[i] @ probabilities[j])
            total += (float(unit[i] @ unit[j]) - expected) * together
    return total / n**2


def random_image(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, 12, 5, generator=generator, dtype=torch.float64)
    cosines = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)
    return tokens, cosines


@pytest.mark.parametrize("expected", [-0.2, 0.0, 0.15, 0.8])
def test_it_is_the_sum_over_pairs(expected: float) -> None:
    tokens, cosines = random_image(seed=0)
    probabilities = cosines.softmax(dim=-1)
    values = potts_modularity(tokens, probabilities, expected)
    for value, image, of_image in zip(values, tokens, probabilities, strict=True):
        assert float(value) == pytest.approx(by_definition(image, of_image, expected), abs=1e-12)


def test_the_loss_has_the_right_gradient() -> None:
    tokens, cosines = random_image(seed=1)
    cosines.requires_grad_()
    loss = lambda given: modularity(tokens, given, temperature=0.3, expected_affinity=0.15)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (cosines,))


def test_tokens_get_no_gradient() -> None:
    tokens, cosines = random_image(seed=2)
    tokens.requires_grad_()
    cosines.requires_grad_()
    modularity(tokens, cosines, temperature=0.1, expected_affinity=0.15).sum().backward()
    assert tokens.grad is None


def test_the_expected_affinity_decides_whether_two_groups_are_one_region() -> None:
    """Two groups with the cosine 0.5 belong together below it, and apart above it."""
    directions = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5]])
    tokens = directions.repeat_interleave(4, dim=0)[None]  # [1, 8, 2]
    apart = torch.eye(2).repeat_interleave(4, dim=0)[None]
    together = torch.zeros_like(apart)
    together[..., 0] = 1
    for expected, best in ((0.4, together), (0.6, apart)):
        values = [potts_modularity(tokens, each, expected).item() for each in (together, apart)]
        assert values.index(max(values)) == (0 if best is together else 1)


def test_an_image_of_zero_tokens_is_finite() -> None:
    zero = torch.zeros(1, 4, 3)
    centers = torch.eye(3)[None]
    assert torch.isfinite(modularity(zero, cosine_assignment(zero, centers), 1.0, 0.1, 0.15)).all()
