"""Masked crops on a hand-made region with a hole."""

import numpy as np
import timm
from timm.models import VisionTransformer

from dcn.backbone import Backbone
from dcn.crops import crop_regions, masked_inputs
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
