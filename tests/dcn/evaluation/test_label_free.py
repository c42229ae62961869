"""The label-free score: the plain double sum over pairs of whitened tokens, and regions that it must prefer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.evaluation.label_free import EXPECTED_AFFINITY, WHITENED_DIMS, label_free_score
from dcn.whitening import TokenWhitening


def fitted(tokens: torch.Tensor) -> TokenWhitening:
    whitening = TokenWhitening(tokens.shape[-1], WHITENED_DIMS)
    whitening.fit(tokens.flatten(0, 1))
    return whitening


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_the_score_is_the_sum_over_the_pairs_of_one_region(seed: int, regions: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, 12, 6, generator=generator)
    labels = torch.randint(regions, (2, 12), generator=generator)
    whitening = fitted(tokens)
    expected = []
    for image, own in zip(whitening(tokens).numpy().astype(np.float64), labels.numpy(), strict=True):
        unit = image / np.linalg.norm(image, axis=1, keepdims=True)
        pairs = [
            unit[i] @ unit[j] - EXPECTED_AFFINITY for i in range(12) for j in range(12) if own[i] == own[j]
        ]
        expected.append(sum(pairs) / 12**2)
    assert label_free_score(whitening, tokens, labels).numpy() == pytest.approx(expected, abs=1e-5)


def test_regions_that_are_the_objects_score_more_than_parts_unions_and_shuffled_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    objects = torch.arange(3).repeat_interleave(20)[None]  # [1, 60]
    directions = torch.randn(3, 16, generator=generator)
    tokens = directions[objects] + 0.3 * torch.randn(1, 60, 16, generator=generator)
    whitening = fitted(tokens)
    rivals = {
        "parts": objects * 2 + (torch.arange(60) % 2)[None],
        "a union": objects.clamp(max=1),
        "one region": torch.zeros_like(objects),
        "shuffled": objects[:, torch.randperm(60, generator=generator)],
    }
    best = label_free_score(whitening, tokens, objects).item()
    for name, labels in rivals.items():
        assert label_free_score(whitening, tokens, labels).item() < best - 0.02, name
