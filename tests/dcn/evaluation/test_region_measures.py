"""Measures of one image, by hand."""

import numpy as np
import pytest

from dcn.evaluation.region_measures import RegionMeasures, measure_regions


def measure(labels: np.ndarray, mask: np.ndarray) -> RegionMeasures:
    found = measure_regions(labels, mask, num_regions=4, num_classes=3, side=10)
    assert found is not None
    return found


def test_a_scene_by_hand() -> None:
    """Class 2 is the right half, with 10 void columns to its left; a region misses 20 of its 50 columns."""
    mask = np.zeros((100, 100), dtype=np.uint8)
    mask[:, 40:50] = 255
    mask[:, 50:] = 2
    labels = np.where(np.arange(100) < 70, 1, 3).astype(np.uint8)[None].repeat(100, axis=0)
    found = measure(labels, mask)
    # Among the labelled pixels region 1 has 60 columns, 40 of them of class 0; region 3 has 30, all of class 2.
    np.testing.assert_allclose(found.best_overlap, [40 / 60, np.nan, 30 / 50])
    assert found.covering == pytest.approx((40 * 40 / 60 + 50 * 30 / 50) / 90)
    # The true boundary is in the middle of the void columns, 25 pixels from that of the regions.
    assert (found.boundary_precision, found.boundary_recall, found.boundary_f) == (0, 0, 0)
    assert (found.rims, found.regions, found.true_regions) == (0, 2, 2)
    labels[:, :45], labels[:, 45:] = 1, 3
    assert measure(labels, mask).boundary_f == 1
    # A band of 10 columns on the boundary, 5 of which are void.
    labels[:, 45:55] = 0
    assert measure(labels, mask).rims == pytest.approx(5 / 90)
    assert measure(labels, mask).regions == 3


def test_perfect_regions_and_no_ground_truth() -> None:
    mask = np.repeat(np.arange(3, dtype=np.uint8), 10)[None].repeat(30, axis=0)
    found = measure(mask, mask)
    assert (found.covering, found.boundary_f, found.rims) == (1, 1, 0)
    assert (found.regions, found.true_regions, set(found.best_overlap)) == (3, 3, {1})
    assert measure_regions(mask, np.full_like(mask, 255), 4, 3, 10) is None
