"""Flip averaging against tokens of a photograph and of a mirrored file of it."""

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from dcn.backbone import Backbone
from dcn.flip_averaging import compute_features

ROWS, COLUMNS = 2, 3


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True, depth=2)
    assert isinstance(model, VisionTransformer)
    return Backbone(model)


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16 * ROWS, 16 * COLUMNS, 3), dtype=np.uint8)


def grid(values: torch.Tensor, patches: int) -> np.ndarray:
    """Patches as rows and columns."""
    return np.asarray(values.unflatten(patches, (ROWS, COLUMNS)))


def test_tokens_and_attention_are_the_mean_of_both_views(backbone: Backbone, photographs: np.ndarray) -> None:
    found = compute_features(backbone, backbone.preprocess(photographs), -2, -1, flip=True)
    seen = backbone.features(backbone.preprocess(photographs), -2, -1)
    mirrored = backbone.features(backbone.preprocess(photographs[:, :, ::-1].copy()), -2, -1)
    assert not torch.allclose(found.tokens, seen.tokens)
    for row in range(ROWS):
        for column in range(COLUMNS):
            here = slice(None), row, column
            there = slice(None), row, COLUMNS - 1 - column
            np.testing.assert_allclose(
                grid(found.tokens, 1)[here],
                (grid(seen.tokens, 1)[here] + grid(mirrored.tokens, 1)[there]) / 2,
                atol=1e-5,
            )
            np.testing.assert_allclose(
                grid(found.attention, 2)[:, :, row, column],
                (
                    grid(seen.attention, 2)[:, :, row, column]
                    + grid(mirrored.attention, 2)[:, :, row, COLUMNS - 1 - column]
                )
                / 2,
                atol=1e-5,
            )


def test_further_layers_are_averaged_as_the_first_one(backbone: Backbone, photographs: np.ndarray) -> None:
    inputs = backbone.preprocess(photographs)
    for flip in (False, True):
        found = compute_features(backbone, inputs, -1, -1, (-2, -1), flip=flip)
        assert len(found.more_tokens) == 2
        for layer, tokens in zip((-2, -1), found.more_tokens, strict=True):
            alone = compute_features(backbone, inputs, layer, -1, flip=flip).tokens
            torch.testing.assert_close(tokens, alone)


def test_a_mirrored_photograph_has_the_mirrored_tokens(backbone: Backbone, photographs: np.ndarray) -> None:
    found = compute_features(backbone, backbone.preprocess(photographs), flip=True)
    mirrored = compute_features(backbone, backbone.preprocess(photographs[:, :, ::-1].copy()), flip=True)
    np.testing.assert_allclose(grid(mirrored.tokens, 1)[:, :, ::-1], grid(found.tokens, 1), atol=1e-5)
    np.testing.assert_allclose(grid(mirrored.attention, 2)[..., ::-1], grid(found.attention, 2), atol=1e-6)
