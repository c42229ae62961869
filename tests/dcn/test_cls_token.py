"""The CLS token of one block, alone and of some patches, against timm's forward pass of all tokens."""

from functools import partial
from typing import Any, cast

import pytest
import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dcn.cls_token import cls_token
from tests.dcn.test_backbone import MODELS

# The architectures of the backbone's tests, and one whose rotations differ from block to block.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    **MODELS,
    "rope_mixed": ("vit_small_patch16_rope_mixed_224", {"depth": 3, "embed_dim": 96, "num_heads": 3}),
    "other block": ("vit_small_patch16_18x2_224", {"depth": 3, "embed_dim": 96, "num_heads": 3}),
}
# float32: sums of some hundred products in another order.
assert_near = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> VisionTransformer | Eva:
    name, size = ARCHITECTURES[request.param]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, dynamic_img_size=True, global_pool="token", **size)
    assert isinstance(model, VisionTransformer | Eva)
    for parameter in model.parameters():  # fresh models have zeros and ones that would hide mistakes
        nn.init.normal_(parameter, std=0.1)
    return model.eval().requires_grad_(False)


def pictures(model: VisionTransformer | Eva, batch: int = 3) -> torch.Tensor:
    size = 4 * model.patch_embed.patch_size[0]
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def hidden_from_attention(
    model: VisionTransformer | Eva, inputs: torch.Tensor, kept: torch.Tensor
) -> torch.Tensor:
    """The CLS token if all blocks compute all tokens, and no token attends to a patch that is not kept."""
    prefix = torch.ones(len(kept), model.num_prefix_tokens, dtype=torch.bool)
    mask = torch.cat([prefix, kept], dim=1)[:, None, None]  # [B, 1, 1, prefix + n]
    return cast(torch.Tensor, cast(Any, model).forward_features(inputs, attn_mask=mask))[:, 0]


@pytest.mark.parametrize("block", [0, 1, 2])
def test_of_every_block_it_is_that_of_all_tokens(model: VisionTransformer | Eva, block: int) -> None:
    inputs = pictures(model)
    outputs = model.forward_intermediates(
        inputs,
        indices=[block],
        return_prefix_tokens=True,
        norm=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    _, prefix = cast(list[tuple[torch.Tensor, torch.Tensor]], outputs)[0]
    assert_near(cls_token(model, inputs, block), prefix[:, 0])


def test_dropped_patches_do_not_exist_for_the_others(model: VisionTransformer | Eva) -> None:
    """Positions are kept, and pictures of different numbers of patches share a batch."""
    inputs = pictures(model)
    kept = torch.rand(3, 16, generator=torch.Generator().manual_seed(2)) < torch.tensor([[0.2], [0.5], [0.9]])
    assert len(set(kept.sum(dim=1).tolist())) == 3
    found = cls_token(model, inputs, 2, kept)
    assert_near(found, hidden_from_attention(model, inputs, kept))
    for picture in range(3):
        alone = slice(picture, picture + 1)
        assert_near(cls_token(model, inputs[alone], 2, kept[alone]), found[alone])
    assert not torch.allclose(found, cls_token(model, inputs, 2), atol=1e-3)


def test_all_patches_kept_is_the_whole_picture(model: VisionTransformer | Eva) -> None:
    inputs = pictures(model)
    kept = torch.ones(3, 16, dtype=torch.bool)
    assert_near(cls_token(model, inputs, 2, kept), cls_token(model, inputs, 2))


def test_a_single_patch(model: VisionTransformer | Eva) -> None:
    inputs, kept = pictures(model, 1), torch.zeros(1, 16, dtype=torch.bool)
    kept[0, 5] = True
    found = cls_token(model, inputs, 2, kept)
    assert_near(found, hidden_from_attention(model, inputs, kept))
