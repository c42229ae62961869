"""Label maps, areas and boxes, compared with PyTorch and scikit-image."""

from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from dcn import regions as module
from dcn.regions import (
    label_map,
    possible_labels,
    region_areas,
    region_boxes,
    resize_label_map,
    upsampled_bands,
)


@given(
    st.integers(1, 6),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 200),
    st.integers(0, 99),
)
@settings(max_examples=100)
def test_bands_equal_interpolate_on_the_whole(
    side: int, height: int, width: int, channels: int, band_pixels: int, seed: int
) -> None:
    values = torch.randn(side * side, channels, generator=torch.Generator().manual_seed(seed))
    whole = F.interpolate(
        values.T.reshape(1, channels, side, side), size=(height, width), mode="bilinear", align_corners=False
    )[0]
    before, module._BAND_PIXELS = module._BAND_PIXELS, band_pixels
    try:
        bands = list(upsampled_bands(values, height, width))
    finally:
        module._BAND_PIXELS = before
    assert [top for top, _ in bands] == list(np.cumsum([0] + [band.shape[1] for _, band in bands])[:-1])
    torch.testing.assert_close(torch.cat([band for _, band in bands], dim=1), whole, atol=1e-6, rtol=1e-5)


def test_label_map_is_upsampling_and_then_argmax() -> None:
    assignment = np.array(
        [[1, 0], [0, 1], [1, 0], [0, 1]], dtype=np.float16
    )  # 2 x 2 patches: left 0, right 1
    labels = label_map(assignment, 3, 8)
    np.testing.assert_array_equal(labels, [[0, 0, 0, 0, 1, 1, 1, 1]] * 3)


@given(st.integers(1, 7), st.integers(1, 30), st.integers(1, 30), st.integers(0, 999))
@settings(max_examples=50)
def test_label_map_equals_pytorch_to_the_last_pixel(k: int, height: int, width: int, seed: int) -> None:
    """There are few distinct values, so many pixels have a tie; then the first channel wins."""
    assignment = np.random.default_rng(seed).integers(-1, 2, (16, k)).astype(np.float16)
    bands = [band for _, band in upsampled_bands(torch.from_numpy(assignment), height, width)]
    expected = torch.cat(bands, dim=1).numpy().argmax(axis=0)
    np.testing.assert_array_equal(label_map(assignment, height, width), expected)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 30), st.integers(1, 30), st.integers(0, 999))
@settings(max_examples=100)
def test_every_label_of_a_map_is_possible(side: int, k: int, height: int, width: int, seed: int) -> None:
    assignment = np.random.default_rng(seed).integers(-2, 3, (side * side, k)).astype(np.float16)
    possible = possible_labels(assignment)
    labels = label_map(assignment, height, width)
    assert set(np.unique(labels)) <= set(possible)
    np.testing.assert_array_equal(possible[label_map(assignment[:, possible], height, width)], labels)


def test_a_region_may_win_between_patches_of_others() -> None:
    between = np.array([[1, 0, 0.6, 0.3], [0, 1, 0.6, 0.3]] * 2)  # left is 0, right is 1
    assert 2 in label_map(between, 2, 9)
    np.testing.assert_array_equal(possible_labels(between), [0, 1, 2])  # 3 is below 2 everywhere


@given(st.integers(0, 10_000))
@settings(max_examples=50)
def test_areas_and_boxes_equal_scikit_image(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (9, 7)).astype(np.uint8)
    labels[labels == 2] = 3  # region 2 does not occur
    areas, boxes = region_areas(labels, 5), region_boxes(labels, 5)
    properties = {p.label - 1: p for p in regionprops(labels.astype(int) + 1)}
    for region in range(5):
        if region in properties:
            assert areas[region] == properties[region].area
            assert tuple(boxes[region]) == properties[region].bbox
        else:
            assert areas[region] == 0
            assert tuple(boxes[region]) == (0, 0, 0, 0)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
@settings(max_examples=50)
def test_a_resized_label_map_has_the_region_of_the_largest_share(
    side: int, height: int, width: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).choice([3, 7, 200], (side, side)).astype(np.uint8)
    members = torch.stack([torch.from_numpy(labels) == region for region in (3, 7, 200)]).float()
    shares = F.interpolate(members[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    resized = resize_label_map(labels, height, width)
    assert resized.dtype == np.uint8
    won = np.take_along_axis(shares.numpy(), np.searchsorted([3, 7, 200], resized)[None], axis=0)[0]
    np.testing.assert_allclose(won, shares.numpy().max(axis=0), atol=1e-6)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 999))
@settings(max_examples=100)
def test_of_equal_shares_the_smallest_region_wins(side: int, height: int, width: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (side, side)).astype(np.uint8)
    resized = resize_label_map(labels, height, width)
    for y, x in np.ndindex(height, width):
        row, column = (
            min(
                max((i + Fraction(1, 2)) * Fraction(side, size) - Fraction(1, 2), Fraction(0)),
                Fraction(side - 1),
            )
            for i, size in ((y, height), (x, width))
        )
        shares = [Fraction(0)] * 3
        for (i, j), label in np.ndenumerate(labels):
            shares[label] += max(1 - abs(row - i), 0) * max(1 - abs(column - j), 0)
        assert resized[y, x] == shares.index(max(shares))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 999))
@settings(max_examples=20)
def test_a_label_map_of_its_own_size_stays(side: int, k: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, k, (side, side)).astype(np.uint8)
    np.testing.assert_array_equal(resize_label_map(labels, side, side), labels)
