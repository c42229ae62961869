"""Agreement with annotators: by hand, and against scikit-image, scikit-learn and loops over regions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import variation_of_information
from sklearn.metrics import rand_score

from dcn.evaluation.annotators import compare_with_annotators

Problem = tuple[np.ndarray, list[np.ndarray]]


@st.composite
def annotated_image(draw: st.DrawFn) -> Problem:
    """A segmentation, and those of up to three annotators, who count from 1."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    labels = rng.choice([0, 2, 5, 7], (6, 7)).astype(np.uint8)
    annotators = [
        rng.integers(1, draw(st.integers(2, 6)), (6, 7)).astype(np.uint16)
        for _ in range(draw(st.integers(1, 3)))
    ]
    return labels, annotators


def test_scores_by_hand() -> None:
    labels = np.array([[0, 0, 1, 1]], dtype=np.uint8)
    same = np.array([[3, 3, 1, 1]], dtype=np.uint16)
    scores = compare_with_annotators(labels, [same])
    assert (scores.covering, scores.rand_index, scores.variation_of_information) == (1, 1, 0)
    split = np.array([[1, 2, 3, 3]], dtype=np.uint16)
    # IoU 1/2 for two regions of one pixel, 1 for one of two. Of six pairs one is apart only for the annotator.
    scores = compare_with_annotators(labels, [split])
    assert scores.covering == pytest.approx((0.5 + 0.5 + 2) / 4)
    assert scores.rand_index == pytest.approx(5 / 6)
    assert scores.variation_of_information == pytest.approx(0.5)  # one bit, for half of the pixels
    both = compare_with_annotators(labels, [same, split])
    assert both.covering == pytest.approx((1 + 0.75) / 2)
    assert both.rand_index == pytest.approx((1 + 5 / 6) / 2)
    assert both.variation_of_information == pytest.approx(0.25)


@given(annotated_image())
@settings(max_examples=60)
def test_rand_index_and_variation_of_information_equal_those_of_libraries(problem: Problem) -> None:
    labels, annotators = problem
    scores = compare_with_annotators(labels, annotators)
    rand = [rand_score(annotator.ravel(), labels.ravel()) for annotator in annotators]
    information = [variation_of_information(annotator, labels).sum() for annotator in annotators]
    assert scores.rand_index == pytest.approx(np.mean(rand))
    assert scores.variation_of_information == pytest.approx(np.mean(information))


@given(annotated_image())
@settings(max_examples=60)
def test_covering_against_a_loop(problem: Problem) -> None:
    labels, annotators = problem
    covered, area = 0.0, 0
    for annotator in annotators:
        for region in np.unique(annotator):
            true = annotator == region
            best = max(((labels == r) & true).sum() / ((labels == r) | true).sum() for r in np.unique(labels))
            covered += true.sum() * best
            area += true.sum()
    assert compare_with_annotators(labels, annotators).covering == pytest.approx(covered / area)


def test_boundaries_and_numbers_of_regions_are_averaged_over_the_annotators() -> None:
    """One annotator draws the same edge, one none at all, and one leaves the first rows out."""
    labels = np.zeros((300, 400), dtype=np.uint8)
    labels[:, 200:] = 1
    same = labels.astype(np.uint16) + 1
    flat = np.ones_like(same)
    partial = same.copy()
    partial[:100] = 0
    scores = compare_with_annotators(labels, [same, flat, partial])
    assert scores.boundary_f == pytest.approx((1 + 0 + 1) / 3)
    assert scores.annotated_regions == pytest.approx((2 + 1 + 2) / 3)


def test_unlabelled_pixels_count_nowhere() -> None:
    labels = np.array([[0, 0, 1, 1, 0, 1]], dtype=np.uint8)
    annotator = np.array([[1, 2, 2, 2, 0, 0]], dtype=np.uint16)
    assert compare_with_annotators(labels, [annotator]) == compare_with_annotators(
        labels[:, :4], [annotator[:, :4]]
    )


def test_an_image_of_bsds_size_in_extremes() -> None:
    """One region, and one for every pixel: 10^10 pairs do not overflow."""
    one = np.zeros((321, 481), dtype=np.uint8)
    many = (np.arange(one.size) % 60_000 + 1).reshape(one.shape).astype(np.uint16)
    assert compare_with_annotators(one, [one.astype(np.uint16) + 1]).rand_index == 1
    scores = compare_with_annotators(one, [many])
    assert 0 <= scores.rand_index < 1e-4
    assert scores.covering < 1e-4
    single = np.ones((1, 1), dtype=np.uint16)
    assert compare_with_annotators(np.zeros((1, 1), dtype=np.uint8), [single]).rand_index == 1
