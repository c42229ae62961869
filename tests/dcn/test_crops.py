"""Crops of hand-made regions: masked, with background and margin, and with a mask that resizing would empty."""

import numpy as np
import pytest
import timm
from PIL import Image
from timm.models import VisionTransformer

from dcn.backbone import Backbone
from dcn.crops import Crop, crop_regions, masked_inputs, patches_inside
from dcn.embedding_sources import CROP_VIEWS
from dcn.regions import region_boxes


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
    backbone = Backbone(model)  # its mean is 0.5, so no pixel value becomes zero, and zeros are masked pixels
    crops = masked_inputs(backbone, list(cut.values()))
    assert crops.shape == (2, 3, 4, 4)
    expected = np.full((4, 4), (90 / 255 - 0.5) / 0.5)
    expected[1, 1] = 0
    np.testing.assert_allclose(crops[1, 0].numpy(), expected, rtol=1e-6)
    ground = crops[0, 0].numpy()
    np.testing.assert_allclose(ground[[0, 0, -1, -1], [0, -1, 0, -1]], -1)  # black
    assert (ground[1:3, 1:3] == 0).all()


def test_a_crop_with_background_shows_the_whole_box() -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    labels = np.zeros((8, 10), dtype=np.uint8)
    labels[2:6, 3:7] = 1
    labels[3, 4] = 0
    boxes = region_boxes(labels, 2) * np.array([[0], [1]], dtype=np.int32)
    (crop,) = crop_regions(photograph, labels, boxes, 4, CROP_VIEWS["crop-unmasked"]).values()
    np.testing.assert_array_equal(crop.pixels, photograph[2:6, 3:7])
    assert crop.inside.all()


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        pytest.param((4, 4, 8, 12), (3, 2, 9, 14), id="a quarter of height and width on each side"),
        pytest.param((0, 12, 8, 20), (0, 10, 10, 20), id="not beyond the photograph"),
        pytest.param((5, 5, 6, 6), (5, 5, 6, 6), id="a single pixel has no rim"),
    ],
)
def test_context_widens_the_box(box: tuple[int, ...], cut: tuple[int, ...]) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    labels = np.zeros((16, 20), dtype=np.uint8)
    labels[box[0] : box[2], box[1] : box[3]] = 1
    boxes = np.array([[0] * 4, box], dtype=np.int32)
    (crop,) = crop_regions(photograph, labels, boxes, 24, CROP_VIEWS["crop-context"]).values()
    expected = Image.fromarray(photograph[cut[0] : cut[2], cut[1] : cut[3]])
    np.testing.assert_array_equal(crop.pixels, expected.resize((24, 24), Image.Resampling.BICUBIC))


def test_a_mask_that_resizing_would_empty_keeps_its_pixels() -> None:
    """Two pixels in opposite corners of a box of 100 x 100: the nearest pixels of a crop of 4 x 4 miss both."""
    labels = np.zeros((100, 100), dtype=np.uint8)
    labels[0, 0] = labels[99, 99] = 1
    photograph = np.full((100, 100, 3), 200, dtype=np.uint8)
    crop = crop_regions(photograph, labels, region_boxes(labels, 2), 4)[1]
    assert np.argwhere(crop.inside).tolist() == [[0, 0], [3, 3]]
    assert patches_inside([crop], 2).tolist() == [[True, False, False, True]]


def test_patches_that_touch_a_region() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random((5, 12, 12)) < 0.03
    inside[:, 0, 0] = True
    crops = [Crop(np.zeros((12, 12, 3), np.uint8), mask) for mask in inside]
    expected = [
        [mask[y : y + 4, x : x + 4].any() for y in range(0, 12, 4) for x in range(0, 12, 4)]
        for mask in inside
    ]
    assert patches_inside(crops, 4).tolist() == expected
