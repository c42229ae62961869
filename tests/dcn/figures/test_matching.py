"""The same colors for the same regions by several methods."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcn.figures.matching import matched_labels

MAPS = st.lists(st.integers(0, 4), min_size=12, max_size=12).map(
    lambda v: np.array(v, np.uint8).reshape(3, 4)
)


def best_agreement(labels: np.ndarray, reference: np.ndarray) -> int:
    """Most pixels that a one-to-one renumbering of the labels can give the number of the reference."""
    return max(int((np.array(order)[labels] == reference).sum()) for order in permutations(range(5)))


# the first example compiles
@given(MAPS, MAPS)
def test_regions_get_the_numbers_that_agree_most(labels: np.ndarray, reference: np.ndarray) -> None:
    matched = matched_labels(labels, reference)
    assert (matched == reference).sum() == best_agreement(labels, reference)
    pairs = set(zip(labels.ravel().tolist(), matched.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(labels)) == len(np.unique(matched)), "regions were split or joined"


@given(MAPS)
def test_the_same_regions_get_the_same_numbers(labels: np.ndarray) -> None:
    shuffled = np.array([3, 200, 1, 77, 9], np.uint8)[labels]
    np.testing.assert_array_equal(matched_labels(shuffled, labels), labels)


@pytest.mark.parametrize("extra", [0, 255])
def test_a_region_that_is_left_over_gets_a_number_of_its_own(extra: int) -> None:
    reference = np.full((1, 4), 7, np.uint8)
    matched = matched_labels(np.array([[5, 5, 5, extra]], np.uint8), reference)
    assert matched[0, :3].tolist() == [7, 7, 7]
    assert matched[0, 3] != 7
