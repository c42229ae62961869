"""Boundaries: against the distance transform of SciPy and the boundaries of scikit-image, and by hand."""

from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_cdt, distance_transform_edt
from skimage.segmentation import find_boundaries

from dcn.evaluation.boundaries import (
    TOLERANCE,
    UNLABELLED,
    boundaries,
    boundary_agreement,
    fill_unlabelled,
)


@st.composite
def label_maps(draw: st.DrawFn) -> np.ndarray:
    """A few rectangles on 60 x 300 pixels, whose tolerance is 2.3 pixels."""
    labels = np.zeros((60, 300), np.int32)
    for label in range(1, draw(st.integers(1, 5))):
        top, left = draw(st.integers(0, 59)), draw(st.integers(0, 299))
        labels[top : top + draw(st.integers(1, 40)), left : left + draw(st.integers(1, 90))] = label
    return labels


def share_near(points: np.ndarray, target: np.ndarray, tolerance: float) -> float:
    if not points.any():
        return 1.0
    if not target.any():
        return 0.0
    return float((distance_transform_edt(~target)[points] <= tolerance).mean())


@given(label_maps(), label_maps())
def test_precision_and_recall_are_those_of_a_distance_transform(found: np.ndarray, true: np.ndarray) -> None:
    agreement = boundary_agreement(found.astype(np.uint8), true)
    tolerance = TOLERANCE * hypot(60, 300)
    assert agreement.precision == pytest.approx(share_near(boundaries(found), boundaries(true), tolerance))
    assert agreement.recall == pytest.approx(share_near(boundaries(true), boundaries(found), tolerance))
    other = boundary_agreement(true.astype(np.uint8), found)
    assert (other.precision, other.recall, other.f) == (agreement.recall, agreement.precision, agreement.f)


@given(label_maps(), st.permutations(range(5)))
def test_perfect_regions_reach_one_whatever_their_numbers(true: np.ndarray, numbers: list[int]) -> None:
    assert boundary_agreement(np.array(numbers, np.uint8)[true], true).f == 1


@given(label_maps())
def test_a_boundary_is_the_first_side_of_that_of_scikit_image(labels: np.ndarray) -> None:
    thick = find_boundaries(labels, connectivity=1, mode="thick")
    found = boundaries(labels)
    assert not (found & ~thick).any()
    # The other side lies one pixel to the right of it or below.
    grown = found.copy()
    grown[:, 1:] |= found[:, :-1] & (labels[:, 1:] != labels[:, :-1])
    grown[1:] |= found[:-1] & (labels[1:] != labels[:-1])
    np.testing.assert_array_equal(grown, thick)


def test_a_shifted_edge_by_hand() -> None:
    """The tolerance of 300 x 400 pixels is 3.75."""
    columns = np.tile(np.arange(400), (300, 1))
    true = (columns >= 200).astype(np.int32)
    for shift, f in ((0, 1), (3, 1), (4, 0)):
        assert boundary_agreement((columns >= 200 + shift).astype(np.uint8), true).f == f
    # A second edge far away: half of the found boundary is wrong, and all of the true one is found.
    two = ((columns >= 200).astype(np.uint8) + (columns >= 300)).astype(np.uint8)
    agreement = boundary_agreement(two, true)
    assert (agreement.precision, agreement.recall) == (0.5, 1)
    assert agreement.f == pytest.approx(2 / 3)


def test_images_without_a_boundary() -> None:
    flat, edge = np.zeros((40, 40), np.int32), np.eye(40, dtype=np.int32)
    assert boundary_agreement(flat.astype(np.uint8), flat).f == 1
    assert boundary_agreement(edge.astype(np.uint8), flat).f == 0
    assert boundary_agreement(flat.astype(np.uint8), edge).f == 0


@given(arrays(np.int32, (7, 9), elements=st.integers(UNLABELLED, 2)))
def test_unlabelled_pixels_get_the_label_of_a_nearest_pixel(truth: np.ndarray) -> None:
    filled = fill_unlabelled(truth)
    labelled = truth != UNLABELLED
    np.testing.assert_array_equal(filled[labelled], truth[labelled])
    if not labelled.any():
        assert (filled == UNLABELLED).all()
        return
    steps = distance_transform_cdt(~labelled, metric="taxicab")
    for y, x in np.argwhere(~labelled):
        nearest = [truth[v, u] for v, u in np.argwhere(labelled) if abs(v - y) + abs(u - x) == steps[y, x]]
        assert filled[y, x] in nearest


def test_the_boundary_of_a_rim_without_labels_is_in_its_middle() -> None:
    truth = np.array([[0, 0, -1, -1, -1, -1, 1, 1]], np.int32)
    np.testing.assert_array_equal(fill_unlabelled(truth), [[0, 0, 0, 0, 1, 1, 1, 1]])
