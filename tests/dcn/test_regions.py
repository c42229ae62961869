"""Label maps, boxes, foreground and crops, compared with PyTorch, scikit-image and results by hand."""

import itertools

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops
from timm.models import VisionTransformer

from dcn import regions as module
from dcn.backbone import Backbone
from dcn.crops import crop_regions, masked_inputs
from dcn.foreground import foreground_regions, reduce_heads, region_scores
from dcn.regions import label_map, region_areas, region_boxes, upsampled_bands


@given(
    st.integers(1, 6),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 200),
    st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
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
@settings(max_examples=50, deadline=None)
def test_label_map_equals_pytorch_to_the_last_pixel(k: int, height: int, width: int, seed: int) -> None:
    """There are few distinct values, so many pixels have a tie; then the first channel wins."""
    assignment = np.random.default_rng(seed).integers(-1, 2, (16, k)).astype(np.float16)
    bands = [band for _, band in upsampled_bands(torch.from_numpy(assignment), height, width)]
    expected = torch.cat(bands, dim=1).numpy().argmax(axis=0)
    np.testing.assert_array_equal(label_map(assignment, height, width), expected)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
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


def best_two_groups(scores: np.ndarray) -> float:
    """Least sum of squares over all partitions into two groups, by exhaustive search."""
    best = np.inf
    for size in range(1, len(scores)):
        for group in itertools.combinations(range(len(scores)), size):
            inside = np.isin(np.arange(len(scores)), group)
            parts = (scores[inside], scores[~inside])
            best = min(best, sum(((part - part.mean()) ** 2).sum() for part in parts))
    return float(best)


@given(st.lists(st.floats(0, 1000, width=32), min_size=2, max_size=7, unique=True))
@settings(max_examples=150, deadline=None)
def test_foreground_is_the_upper_of_the_best_two_groups(values: list[float]) -> None:
    scores = np.array(values, dtype=np.float32)
    foreground = foreground_regions(scores, np.ones(len(scores), dtype=np.int64))
    exact = scores.astype(np.float64)
    assert foreground.any()
    assert not foreground.all()
    assert exact[foreground].min() > exact[~foreground].max()
    spread = sum(((part - part.mean()) ** 2).sum() for part in (exact[foreground], exact[~foreground]))
    assert spread <= best_two_groups(exact) * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize(
    ("scores", "areas", "expected"),
    [
        ([5.0], [9], [True]),
        ([5.0, 9.0], [9, 0], [True, False]),
        ([0.0, 3.0, 0.0], [0, 4, 0], [False, True, False]),
        ([2.0, 2.0, 2.0], [1, 1, 1], [True, True, True]),
        ([2.0, 2.0, 9.0], [1, 1, 1], [False, False, True]),
        ([0.0, 0.0], [0, 0], [False, False]),
    ],
    ids=["one region", "one that occurs", "one of three", "all alike", "two alike", "none"],
)
def test_foreground_in_edge_cases(scores: list[float], areas: list[int], expected: list[bool]) -> None:
    found = foreground_regions(np.array(scores, dtype=np.float32), np.array(areas))
    assert found.tolist() == expected


def test_region_scores_are_sums_or_means_of_the_upsampled_attention() -> None:
    attention = torch.rand(9, generator=torch.Generator().manual_seed(0))
    labels = np.random.default_rng(0).integers(0, 3, (10, 14)).astype(np.uint8)
    pixels = F.interpolate(attention.view(1, 1, 3, 3), size=(10, 14), mode="bilinear")[0, 0].numpy()
    in_regions = [pixels[labels == region] for region in range(3)]
    sums, means = region_scores(attention, labels, 4, "sum"), region_scores(attention, labels, 4, "mean")
    np.testing.assert_allclose(sums, [*(values.sum() for values in in_regions), 0], rtol=1e-5)
    np.testing.assert_allclose(means, [*(values.mean() for values in in_regions), 0], rtol=1e-5)


def test_attention_is_reduced_over_heads() -> None:
    attention = torch.tensor([[0.1, 0.5], [0.3, 0.2]])
    assert reduce_heads(attention, "max").tolist() == pytest.approx([0.3, 0.5])
    assert reduce_heads(attention, "min").tolist() == pytest.approx([0.1, 0.2])
    assert reduce_heads(attention, "mean").tolist() == pytest.approx([0.2, 0.35])


def test_crops_are_masked_after_normalization() -> None:
    photograph = np.zeros((8, 10, 3), dtype=np.uint8)
    photograph[2:6, 3:7] = 90
    labels = np.zeros((8, 10), dtype=np.uint8)
    labels[2:6, 3:7] = 2
    labels[3, 4] = 0  # a hole
    cut = crop_regions(photograph, labels, region_boxes(labels, 3), 4)
    assert list(cut) == [0, 2]  # region 1 does not occur
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    assert isinstance(model, VisionTransformer)
    backbone = Backbone(model)  # its mean is half, so no pixel value becomes zero: zeros are masked pixels
    crops = masked_inputs(backbone, list(cut.values()))
    assert crops.shape == (2, 3, 4, 4)
    expected = np.full((4, 4), (90 / 255 - 0.5) / 0.5)
    expected[1, 1] = 0
    np.testing.assert_allclose(crops[1, 0].numpy(), expected, rtol=1e-6)
    ground = crops[0, 0].numpy()
    np.testing.assert_allclose(ground[[0, 0, -1, -1], [0, -1, 0, -1]], -1)  # black
    assert (ground[1:3, 1:3] == 0).all()
