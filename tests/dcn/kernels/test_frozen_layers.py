"""A ViT whose linear layers multiply with oneDNN against the same ViT of timm."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models import Eva, VisionTransformer
from torch import nn

from dcn.backbone import Backbone
from dcn.kernels import products
from dcn.kernels.frozen_layers import use_onednn

# Learned positions and registers; rotation and LayerScale; SwiGLU, which has no GELU; another GELU.
MODELS = [
    "vit_tiny_patch16_224",
    "vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_small_plus_patch16_dinov3.lvd1689m",
    "vit_base_patch32_clip_quickgelu_224",
]


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_timm(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True, depth=3).eval()
    assert isinstance(model, VisionTransformer | Eva)
    plain = copy.deepcopy(model)
    use_onednn(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    inputs = torch.randn(2, 3, 64 if "14" not in name else 70, 64 if "14" not in name else 70)
    with torch.inference_mode():
        ours, exact = model.forward_features(inputs), plain.double().forward_features(inputs.double())
    assert F.cosine_similarity(ours.double(), exact, dim=-1).min() > 0.9999999
    torch.testing.assert_close(ours.double(), exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, dynamic_img_size=True)
    assert isinstance(model, VisionTransformer)
    backbone = Backbone(model)
    inputs = torch.randn(3, 3, 112, 112)
    expected = backbone.features(inputs)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = backbone.features(inputs)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.attention, expected.attention)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_of_rows_in_any_layout(
    dtype: torch.dtype, onednn: bool, gelu: bool, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not onednn:
        monkeypatch.setattr(products, "_onednn", lambda: None)
    torch.manual_seed(0)
    layer = nn.Linear(24, 10, bias=bias).to(dtype)
    rows = torch.randn(3, 7, 24).to(dtype)
    exact = F.linear(rows.double(), layer.weight.double(), layer.bias.double() if bias else None)
    exact = F.gelu(exact) if gelu else exact
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    with torch.inference_mode():
        for chosen, wanted in ((rows, exact), (rows[:, :1], exact[:, :1]), (rows.mT.contiguous().mT, exact)):
            found = products.linear(chosen, layer.weight, layer.bias, gelu)
            assert (found.dtype, found.shape) == (dtype, wanted.shape)
            torch.testing.assert_close(found.double(), wanted, atol=tolerance, rtol=tolerance)


def test_a_graph_for_another_software_has_plain_products() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    use_onednn(model)
    exported = torch.export.export(model.eval().requires_grad_(False), (torch.randn(2, 4),))
    assert "mkldnn" not in str(exported.graph)
