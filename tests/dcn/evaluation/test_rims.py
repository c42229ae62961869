"""Rims of drawn scenes: patches have 10 x 10 pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dcn.evaluation.boundaries import UNLABELLED, boundaries, fill_unlabelled
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.rims import rims

SIDE = 10


def square(first: int, last: int) -> np.ndarray:
    """Whether a pixel of 100 x 100 is in the square of rows and columns ``first`` to before ``last``."""
    inside = np.zeros((100, 100), bool)
    inside[first:last, first:last] = True
    return inside


def found(labels: np.ndarray, truth: np.ndarray) -> list[bool]:
    mask = np.where(truth == UNLABELLED, 255, truth).astype(np.uint8)
    table = region_overlap(labels.astype(np.uint8), mask, 4, 3).T
    return list(rims(labels.astype(np.uint8), truth.astype(np.int32), table, SIDE))


def test_a_band_around_an_object_is_a_rim() -> None:
    truth = square(30, 70).astype(np.int32)
    # Region 2 is a band of 10 pixels, half inside and half outside of the object.
    labels = np.select([square(35, 65), square(25, 75)], [1, 2], 0)
    assert found(labels, truth) == [False, False, True, False]
    # Without labels along the boundary it is the same.
    truth[square(28, 72) & ~square(32, 68)] = UNLABELLED
    assert found(labels, truth) == [False, False, True, False]


def test_a_wide_band_is_no_rim() -> None:
    truth = square(30, 70).astype(np.int32)
    # 64 x 64 to 30 x 30 pixels: of 9700 pixels around the boundary most are farther than 10 pixels.
    labels = np.select([square(40, 60), square(0, 100)], [1, 2], 0)
    labels[0] = 0
    assert not found(labels, truth)[2]


def test_the_region_of_a_small_object_is_no_rim() -> None:
    """All of the object is near its boundary, and so is the halo around it. The halo alone is a rim."""
    truth = square(45, 55).astype(np.int32)
    labels = np.select([square(44, 56), square(38, 62)], [1, 2], 0)
    assert found(labels, truth) == [False, False, True, False]


def test_an_image_of_one_class_has_no_rim() -> None:
    labels = np.select([square(35, 65), square(25, 75)], [1, 2], 0)
    assert not any(found(labels, np.zeros((100, 100), np.int32)))


def loop(labels: np.ndarray, truth: np.ndarray, reach: int) -> list[bool]:
    """Rims by a loop over regions and pixels."""
    places = np.argwhere(boundaries(fill_unlabelled(truth)))
    regions = [(labels == region) & (truth != UNLABELLED) for region in range(4)]
    classes = [truth == c for c in range(3) if (truth == c).any()]
    iou = np.array([[(one & c).sum() / max(1, (one | c).sum()) for one in regions] for c in classes])
    expected = []
    for region, pixels in enumerate(regions):
        near = sum((np.abs(places - pixel).max(axis=1) <= reach).any() for pixel in np.argwhere(pixels))
        is_best = any(row[region] == row.max() for row in iou)
        expected.append(bool(2 * near > pixels.sum() and not is_best))
    return expected


@given(
    arrays(np.uint8, (8, 8), elements=st.integers(0, 3)),
    arrays(np.int32, (8, 8), elements=st.sampled_from([UNLABELLED, 0, 0, 0, 0, 0, 0, 1, 2])),
    st.permutations(range(4)),
)
def test_the_numbers_of_regions_do_not_matter_and_loops_agree(
    labels: np.ndarray, truth: np.ndarray, numbers: list[int]
) -> None:
    mask = np.where(truth == UNLABELLED, 255, truth).astype(np.uint8)
    table = region_overlap(labels, mask, 4, 3).T
    first = rims(labels, truth, table, 8)  # a patch is a pixel
    assert list(first) == loop(labels, truth, 1)
    renumbered = np.array(numbers, np.uint8)[labels]
    second = rims(renumbered, truth, region_overlap(renumbered, mask, 4, 3).T, 8)
    np.testing.assert_array_equal(second[numbers], first)
    perfect = np.where(truth == UNLABELLED, 3, truth).astype(np.uint8)
    assert not rims(perfect, truth, region_overlap(perfect, mask, 4, 3).T, 8).any()
