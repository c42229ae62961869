"""Foreground regions and their scores, compared with exhaustive search and plain sums."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.foreground import foreground_regions, reduce_heads, region_scores


def best_two_groups(scores: np.ndarray) -> float:
    """Least sum of squares over all partitions into two groups, by exhaustive search."""
    best = np.inf
    for size in range(1, len(scores)):
        for group in itertools.combinations(range(len(scores)), size):
            inside = np.isin(np.arange(len(scores)), group)
            parts = (scores[inside], scores[~inside])
            best = min(best, sum(((part - part.mean()) ** 2).sum() for part in parts))
    return float(best)


@given(st.lists(st.floats(0, 1000, width=32), min_size=2, max_size=7, unique=True))
@settings(max_examples=150)
def test_foreground_is_the_upper_of_the_best_two_groups(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    foreground = foreground_regions(scores, np.ones(len(scores), dtype=np.int64))
    exact = scores.astype(np.float64)
    assert foreground.any()
    assert not foreground.all()
    assert exact[foreground].min() > exact[~foreground].max()
    spread = sum(((part - part.mean()) ** 2).sum() for part in (exact[foreground], exact[~foreground]))
    assert spread <= best_two_groups(exact) * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize(
    ("scores", "areas", "expected"),
    [
        ([5.0], [9], [True]),
        ([5.0, 9.0], [9, 0], [True, False]),
        ([0.0, 3.0, 0.0], [0, 4, 0], [False, True, False]),
        ([2.0, 2.0, 2.0], [1, 1, 1], [True, True, True]),
        ([2.0, 2.0, 9.0], [1, 1, 1], [False, False, True]),
        ([0.0, 0.0], [0, 0], [False, False]),
    ],
    ids=["one region", "one that occurs", "one of three", "all alike", "two alike", "none"],
)
def test_foreground_in_edge_cases(scores: list[float], areas: list[int], expected: list[bool]) -> None:
    found = foreground_regions(np.array(scores, dtype=np.float32), np.array(areas))
    assert found.tolist() == expected


@given(
    st.lists(st.tuples(st.floats(0, 1000, width=32), st.integers(0, 9)), min_size=1, max_size=7),
)
@settings(max_examples=150)
def test_foreground_above_the_average_is_above_the_mean_of_all_pixels(
    regions: list[tuple[float, int]],
) -> None:
    scores = np.array([score for score, _ in regions], dtype=np.float32)
    areas = np.array([area for _, area in regions])
    pixels = np.repeat(scores.astype(np.float64), areas)
    found = foreground_regions(scores, areas, "average")
    assert not found[areas == 0].any()
    if len(pixels):
        assert found[areas > 0].any()
        clear = (areas > 0) & (np.abs(scores - pixels.mean()) > 1e-6 * (1 + pixels.mean()))
        assert (found == (scores > pixels.mean()))[clear].all()


def test_an_object_in_two_regions_is_foreground_as_a_whole_above_the_average() -> None:
    scores, areas = np.array([9, 4, 1], dtype=np.float32), np.array([10, 10, 80])
    assert foreground_regions(scores, areas).tolist() == [True, False, False]
    assert foreground_regions(scores, areas, "average").tolist() == [True, True, False]


def test_region_scores_are_sums_or_means_of_the_upsampled_attention() -> None:
    attention = torch.rand(9, generator=torch.Generator().manual_seed(0))
    labels = np.random.default_rng(0).integers(0, 3, (10, 14)).astype(np.uint8)
    pixels = F.interpolate(attention.view(1, 1, 3, 3), size=(10, 14), mode="bilinear")[0, 0].numpy()
    in_regions = [pixels[labels == region] for region in range(3)]
    sums, means = region_scores(attention, labels, 4, "sum"), region_scores(attention, labels, 4, "mean")
    np.testing.assert_allclose(sums, [*(values.sum() for values in in_regions), 0], rtol=1e-5)
    np.testing.assert_allclose(means, [*(values.mean() for values in in_regions), 0], rtol=1e-5)


def test_attention_is_reduced_over_heads() -> None:
    attention = torch.tensor([[0.1, 0.5], [0.3, 0.2]])
    assert reduce_heads(attention, "max").tolist() == pytest.approx([0.3, 0.5])
    assert reduce_heads(attention, "min").tolist() == pytest.approx([0.1, 0.2])
    assert reduce_heads(attention, "mean").tolist() == pytest.approx([0.2, 0.35])
