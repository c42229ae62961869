"""Removal of small parts of regions, with scipy's connected components."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from dcn.speckles import remove_speckles


def parts_of(labels: np.ndarray) -> list[np.ndarray]:
    """Mask of every connected part of every region; pixels that share a side are connected."""
    found = []
    for region in np.unique(labels):
        numbers, count = ndimage.label(labels == region)
        found += [numbers == number for number in range(1, count + 1)]
    return found


@given(st.integers(0, 9999), st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.floats(0, 1))
def test_only_large_parts_remain(seed: int, height: int, width: int, k: int, smallest_part: float) -> None:
    labels = np.random.default_rng(seed).integers(0, k, (height, width)).astype(np.uint8)
    cleaned = remove_speckles(labels, smallest_part)
    least = smallest_part * labels.size
    before, after = parts_of(labels), parts_of(cleaned)
    largest = max(part.sum() for part in before)
    assert all(part.sum() >= min(least, largest) for part in after)
    for part in before:  # what is large keeps its region
        if part.sum() >= least:
            np.testing.assert_array_equal(cleaned[part], labels[part])
    assert set(np.unique(cleaned)) <= set(np.unique(labels))


def test_one_region_always_remains() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert len(np.unique(remove_speckles(labels, 1.0))) == 1


def test_a_speckle_gets_the_region_around_it() -> None:
    labels = np.zeros((10, 10), dtype=np.uint8)
    labels[:, 5:] = 3
    expected = labels.copy()
    labels[2:4, 1:3] = 3  # region 3 occurs elsewhere, but this part of it is small
    labels[7, 8] = 200
    np.testing.assert_array_equal(remove_speckles(labels, 0.05), expected)
    np.testing.assert_array_equal(remove_speckles(labels, 0.04)[2:4, 1:3], 3)
    np.testing.assert_array_equal(remove_speckles(labels, 0), labels)
