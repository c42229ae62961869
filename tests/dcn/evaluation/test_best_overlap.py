"""Best overlaps and covering: by hand, and against loops over masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dcn.evaluation.best_overlap import average_best_overlap, best_overlaps, class_best_overlaps, covering
from dcn.evaluation.overlap import region_overlap

VOID = 255
LABELS = arrays(np.uint8, (5, 6), elements=st.integers(0, 3))
MASKS = arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, VOID]))


def loop(labels: np.ndarray, mask: np.ndarray) -> list[float]:
    """Best IoU of each of three classes among the labelled pixels."""
    best = []
    for c in range(3):
        true = mask == c
        found = [(labels == region) & (mask != VOID) for region in range(4)]
        ious = [(true & one).sum() / max(1, (true | one).sum()) for one in found]
        best.append(max(ious) if true.any() else np.nan)
    return best


@given(LABELS, MASKS)
def test_best_overlaps_and_covering_against_loops(labels: np.ndarray, mask: np.ndarray) -> None:
    table = region_overlap(labels, mask, 4, 3).T
    best = loop(labels, mask)
    np.testing.assert_allclose(best_overlaps(table), best)
    areas = [(mask == c).sum() for c in range(3)]
    if any(areas):
        expected = sum(area * one for area, one in zip(areas, best, strict=True) if area) / sum(areas)
        assert covering([table]) == pytest.approx(expected)


@given(LABELS, st.permutations(range(4)))
def test_perfect_regions_reach_one_whatever_their_numbers(labels: np.ndarray, numbers: list[int]) -> None:
    table = region_overlap(np.array(numbers, np.uint8)[labels], labels, 4, 4).T
    best = best_overlaps(table)
    assert set(best[~np.isnan(best)]) == {1}
    assert covering([table]) == 1


def test_average_best_overlap_by_hand() -> None:
    """A class counts once, the background does not count, and an absent class counts nowhere."""
    nan = np.nan
    best = np.array([[0.9, 0.5, nan, nan], [0.7, 0.3, 0.8, nan], [nan, 0.1, nan, nan]])
    np.testing.assert_allclose(class_best_overlaps(best), [0.8, 0.3, 0.8, nan])
    assert average_best_overlap(best) == pytest.approx((0.3 + 0.8) / 2)
    assert np.isnan(average_best_overlap(best[:, :1]))
    assert np.isnan(average_best_overlap(best[:0]))
