"""Label maps that are finer than patches: they follow the edges of a photograph, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.refinement import fine_label_map, guide_side, label_side
from dcn.regions import label_map


def halves(side: int = 8) -> np.ndarray:
    """Cosines of two regions that meet in the middle: the left half and the right half of the patches."""
    right = np.arange(side * side) % side >= side // 2
    return np.stack([np.where(right, 0.2, 0.6), np.where(right, 0.7, 0.1)], axis=1).astype(np.float16)


def drawn(labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    picture: np.ndarray = colors.astype(np.uint8)[labels]
    return picture


TWO_COLORS = np.array([[200, 60, 40], [50, 90, 160]])


@pytest.mark.parametrize("edge", range(14, 19))
def test_an_edge_inside_a_patch_is_followed_to_the_pixel(edge: int) -> None:
    """The patches meet at pixel 16 of the guide, which is pixel 32 of the label map."""
    assert guide_side(64) == 32
    truth = np.tile(np.arange(32) >= edge, (32, 1)).astype(np.uint8)
    labels = fine_label_map(halves(), drawn(truth, TWO_COLORS))
    assert labels.shape == (label_side(64), label_side(64)) == (64, 64)
    widths = (labels == 0).sum(axis=1)  # of the left region, in pixels of the label map
    assert (np.diff(labels.astype(int), axis=1) >= 0).all()
    assert (abs(widths - 2 * edge) <= 1).all()


def test_a_slanted_edge_is_followed_to_the_pixel() -> None:
    rows, columns = np.mgrid[:32, :32]
    truth = (columns + (rows - 16) * 0.2 >= 16).astype(np.uint8)
    labels = fine_label_map(halves(), drawn(truth, TWO_COLORS))
    unrefined = fine_label_map(halves(), None)
    expected = truth.repeat(2, axis=0).repeat(2, axis=1)
    assert (labels != expected).mean() < 0.015
    assert (unrefined != expected).mean() > 0.03


def test_without_a_photograph_it_is_the_upsampled_assignment() -> None:
    assignment = np.random.default_rng(0).normal(size=(36, 4)).astype(np.float16)
    np.testing.assert_array_equal(fine_label_map(assignment, None), label_map(assignment, 48, 48))


@pytest.mark.parametrize("size", [(32, 32), (20, 90)])
def test_a_photograph_of_one_color_leaves_a_straight_border(size: tuple[int, int]) -> None:
    """Only corners of regions become round: the filter is a mean over a window, which is symmetric."""
    gray = np.full((*size, 3), 90, dtype=np.uint8)
    np.testing.assert_array_equal(fine_label_map(halves(), gray), label_map(halves(), 64, 64))


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=50)
def test_no_region_arises(seed: int, side: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    assignment = (rng.integers(-4, 1, (side * side, k)) / 4).astype(np.float16)
    photograph = rng.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    before = label_map(assignment, label_side(side * side), label_side(side * side))
    assert set(np.unique(fine_label_map(assignment, photograph))) <= set(np.unique(before))


def test_the_scale_of_the_assignment_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    assignment = rng.integers(-8, 9, (36, 4)) / 8
    photograph = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    one, quarter = (
        fine_label_map((assignment * scale).astype(np.float16), photograph) for scale in (1, 1 / 4)
    )
    np.testing.assert_array_equal(one, quarter)


def test_small_parts_are_removed_after_the_filter() -> None:
    photograph = drawn(np.zeros((64, 64), np.uint8), TWO_COLORS)
    photograph[20:24, 20:24] = 0
    assignment = halves()
    assignment[2 * 8 + 2] = 0.2, 0.9  # one patch of 64 on the left looks like the right half
    assert fine_label_map(assignment, None)[20, 20] == 1
    np.testing.assert_array_equal(
        fine_label_map(assignment, None, smallest_part=0.05), fine_label_map(halves(), None)
    )
    assert fine_label_map(assignment, photograph, smallest_part=0.05)[20, 20] == 0
