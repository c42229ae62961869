"""True regions, true foreground and the upper bound of a foreground, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings

from dcn.evaluation.metrics import mean_iou, pixel_accuracy
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.protocols import Regions, upper_bound
from dcn.evaluation.true_regions import foreground_upper_bound, true_regions, with_true_foreground
from tests.dcn.evaluation.test_protocols import Problem, segmented_images


def table(overlap: np.ndarray, foreground: np.ndarray) -> Regions:
    rows = np.arange(len(overlap))
    return Regions(rows, np.zeros_like(rows), overlap, foreground, np.ones((len(overlap), 2), np.float32))


@given(segmented_images())
@settings(max_examples=80)
def test_true_regions_are_the_classes_of_each_mask(problem: Problem) -> None:
    _, masks, _, _, classes = problem
    pixels = np.array([[(mask == c).sum() for c in range(classes)] for mask in masks])
    embedding = np.arange(2 * classes * 3).reshape(2, classes, 3).astype(np.float16)
    regions = true_regions(np.array([4, 9]), pixels, embedding)
    there = [(i, c) for i in range(2) for c in range(classes) if (masks[i] == c).any()]
    assert regions.image.tolist() == [(4, 9)[i] for i, _ in there]
    assert regions.index.tolist() == [c for _, c in there]
    assert regions.foreground.tolist() == [c != 0 for _, c in there]
    assert [row.tolist() for row in regions.embedding] == [embedding[i, c].tolist() for i, c in there]
    assert regions.embedding.dtype == np.float32
    if there:  # the first line of the table of costs
        matrix = upper_bound(regions.overlap)
        assert mean_iou(matrix) == pixel_accuracy(matrix) == 1
        assert matrix.sum() == (masks != 255).sum()


@given(segmented_images())
@settings(max_examples=80)
def test_the_upper_bound_of_a_foreground_equals_that_of_pixels(problem: Problem) -> None:
    labels, masks, predicted, k, classes = problem
    overlap = np.concatenate([region_overlap(a, b, k, classes) for a, b in zip(labels, masks, strict=True)])
    foreground = predicted > classes // 2  # [2, k], any choice
    matrix = foreground_upper_bound(overlap, foreground.ravel())
    expected = np.zeros((classes, classes), dtype=np.int64)
    for image, mask, chosen in zip(labels, masks, foreground, strict=True):
        for region in range(k):
            counted = mask[(image == region) & (mask != 255)]
            if len(counted):
                best = np.bincount(counted).argmax() if chosen[region] else 0
                expected[best] += np.bincount(counted, minlength=classes)
    np.testing.assert_array_equal(matrix, expected)
    assert (foreground_upper_bound(overlap, np.ones(len(overlap), bool)) == upper_bound(overlap)).all()


@pytest.mark.parametrize(
    ("overlap", "foreground"),
    [([5, 4, 4], False), ([3, 4, 0], True), ([4, 4, 0], False), ([0, 0, 0], False), ([0, 0, 1], True)],
)
def test_the_true_foreground_has_mostly_another_class_than_background(
    overlap: list[int], foreground: bool
) -> None:
    found = with_true_foreground(table(np.array([overlap]), np.array([not foreground])))
    assert found.foreground.tolist() == [foreground]
