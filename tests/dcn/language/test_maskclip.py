"""MaskCLIP on a small CLIP with random weights, compared with its equations and open_clip's forward pass."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import resize_pos_embed
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from torch import Tensor, nn

from dcn.datasets.voc2012 import CLASS_NAMES
from dcn.errors import UnknownModelError, WeightsUnavailableError
from dcn.evaluation.metrics import class_iou, mean_iou
from dcn.language.maskclip import (
    LanguageModel,
    classify_pixels,
    foreground_pixels,
    patch_logits,
    region_modes,
    without_background,
)
from dcn.language.prompts import class_prompts
from dcn.regions import upsampled_bands

NAME = "tiny-8"
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 24, "head_width": 12, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
TRAINING = {
    "hf_hub": "nobody/tiny-clip/",
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "quick_gelu": True,
}


@pytest.fixture(autouse=True)
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register an architecture with open_clip, and pretrained weights of it that no hub has."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, NAME, CONFIG)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, NAME, {"some": TRAINING})


def clip(**changes: object) -> open_clip.CLIP:
    torch.manual_seed(0)
    model: open_clip.CLIP = open_clip.CLIP(**{**CONFIG, **changes})
    for parameter in model.parameters():  # fresh models have zeros and ones that would hide mistakes
        nn.init.normal_(parameter, std=0.2)
    open_clip.set_model_preprocess_cfg(model, TRAINING)
    model.eval()
    return model


def language_model(**changes: object) -> LanguageModel:
    return LanguageModel(clip(**changes), open_clip.get_tokenizer(NAME))


def photographs(size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def before_last_block(model: LanguageModel, inputs: Tensor) -> Tensor:
    """Tokens ``[B, 1 + n, w]`` that enter the last block, computed by open_clip's own modules."""
    visual = model._model.visual
    x: Tensor = visual._embeds(inputs)
    for block in visual.transformer.resblocks[:-1]:
        x = block(x)
    return x


class TestPatchFeatures:
    """The value path of the last block."""

    @pytest.mark.parametrize("quick_gelu", [False, True])
    def test_equal_to_the_equations_written_out(self, quick_gelu: bool) -> None:
        model = language_model(quick_gelu=quick_gelu)
        inputs = model.preprocess(photographs())
        weight: dict[str, Tensor] = model._model.visual.state_dict()
        block = "transformer.resblocks.2."

        def linear(x: Tensor, name: str) -> Tensor:
            return x @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]

        def norm(x: Tensor, name: str) -> Tensor:
            centered = x - x.mean(dim=-1, keepdim=True)
            scaled = centered / (centered.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
            return scaled * weight[f"{name}.weight"] + weight[f"{name}.bias"]

        x = before_last_block(model, inputs)[:, 1:]
        value_weight = weight[f"{block}attn.in_proj_weight"][48:72]  # after 24 rows of query and 24 of key
        value = norm(x, f"{block}ln_1") @ value_weight.T + weight[f"{block}attn.in_proj_bias"][48:72]
        x = x + linear(value, f"{block}attn.out_proj")
        hidden = linear(norm(x, f"{block}ln_2"), f"{block}mlp.c_fc")
        hidden = hidden * torch.sigmoid(1.702 * hidden) if quick_gelu else F.gelu(hidden)
        x = x + linear(hidden, f"{block}mlp.c_proj")
        expected = norm(x, "ln_post") @ weight["proj"]
        features = model.patch_features(inputs)
        assert features.shape == (2, 16, 16)
        assert features.dtype == torch.float32
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)

    def test_equal_to_attention_of_every_token_to_itself(self) -> None:
        model = language_model()
        inputs = model.preprocess(photographs())
        visual = model._model.visual
        alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
        x = visual.transformer.resblocks[-1](before_last_block(model, inputs), attn_mask=alone)
        expected = visual.ln_post(x)[:, 1:] @ visual.proj
        torch.testing.assert_close(model.patch_features(inputs), expected, atol=1e-5, rtol=1e-4)

    def test_layer_scale_is_applied(self) -> None:
        """One architecture of open_clip has layer scale."""
        model = language_model(vision_cfg={**CONFIG["vision_cfg"], "ls_init_value": 0.1})
        inputs = model.preprocess(photographs())
        visual = model._model.visual
        alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
        x = visual.transformer.resblocks[-1](before_last_block(model, inputs), attn_mask=alone)
        expected = visual.ln_post(x)[:, 1:] @ visual.proj
        torch.testing.assert_close(model.patch_features(inputs), expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("size", [16, 48, 56])
    def test_position_embeddings_are_resized_as_in_open_clip(self, size: int) -> None:
        model = language_model()
        resized = clip(vision_cfg={**CONFIG["vision_cfg"], "image_size": size})
        state = model._model.state_dict()
        resize_pos_embed(state, resized)
        resized.load_state_dict(state)
        expected = LanguageModel(resized, open_clip.get_tokenizer(NAME))
        inputs = model.preprocess(photographs(size))
        features = model.patch_features(inputs)
        assert features.shape == (2, (size // 8) ** 2, 16)
        torch.testing.assert_close(features, expected.patch_features(inputs), atol=1e-5, rtol=1e-4)

    def test_a_size_that_is_no_multiple_of_the_patch_size_is_refused(self) -> None:
        model = language_model()
        assert model.grid(48) == 6
        with pytest.raises(ValueError, match="input size 36 is not a multiple of the patch size 8; try 32"):
            model.patch_features(model.preprocess(photographs(36)))

    def test_preprocessing_uses_the_mean_and_std_of_the_model(self) -> None:
        mean, std = np.array(TRAINING["mean"]), np.array(TRAINING["std"])
        expected = ((photographs() / 255 - mean) / std).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(language_model().preprocess(photographs()), expected, atol=1e-5)


class TestText:
    """Prompts, and one embedding per class."""

    def test_embeddings_equal_open_clips_zero_shot_classifier(self) -> None:
        model = language_model()
        templates = [*open_clip.OPENAI_IMAGENET_TEMPLATES, lambda name: f"there is a {name} in the scene."]
        prompts = [[template(name) for template in templates] for name in ("dog", "potted plant")]
        expected = open_clip.build_zero_shot_classifier(
            model._model, open_clip.get_tokenizer(NAME), ["dog", "potted plant"], templates
        )
        torch.testing.assert_close(model.text_embeddings(prompts), expected.T, atol=1e-6, rtol=1e-5)

    def test_an_embedding_is_the_mean_over_the_prompts_of_all_synonyms(self) -> None:
        model = language_model()
        single = torch.cat(
            [model.text_embeddings([[prompt]]) for prompt in ("a sofa", "a couch", "the couch")]
        )
        expected = F.normalize(single.mean(dim=0, keepdim=True), dim=-1)
        torch.testing.assert_close(model.text_embeddings([["a sofa", "a couch", "the couch"]]), expected)

    def test_prompts_are_clips_templates_and_those_of_scenes(self) -> None:
        assert len(class_prompts("dog")) == 80 + 5
        assert "a photo of a dog." in class_prompts("dog")
        assert "there is the dog in the scene." in class_prompts("dog")
        assert len(class_prompts("sofa")) == 2 * 85
        assert "a photo of the airplane." in class_prompts("aeroplane")
        assert not any("{" in prompt for name in CLASS_NAMES for prompt in class_prompts(name))

    def test_only_classes_of_voc_have_synonyms(self) -> None:
        from dcn.language.prompts import _SYNONYMS

        assert _SYNONYMS.keys() <= set(CLASS_NAMES)


class TestWeights:
    """Weights come from a file or the hub, and never from a pickle that runs code."""

    @pytest.mark.parametrize("name", [NAME, f"{NAME}:some"])
    def test_a_local_file_gives_the_same_model(self, tmp_path: Path, name: str) -> None:
        """The activation follows the pretrained tag for local files too, where open_clip itself only warns."""
        original = clip(quick_gelu=name != NAME)
        save_file(original.state_dict(), tmp_path / "clip.safetensors")
        torch.save({"state_dict": original.state_dict(), "epoch": 3}, tmp_path / "clip.pt")
        expected = LanguageModel(original, open_clip.get_tokenizer(NAME))
        for file in ("clip.safetensors", "clip.pt"):
            model = LanguageModel.from_name(name, tmp_path / file)
            inputs = expected.preprocess(photographs())
            assert torch.equal(model.patch_features(inputs), expected.patch_features(inputs))
            prompts = [class_prompts("cat")]
            assert torch.equal(model.text_embeddings(prompts), expected.text_embeddings(prompts))
        block = model._model.visual.transformer.resblocks[0]
        assert isinstance(block.mlp.gelu, QuickGELU) == (name != NAME)
        mean = open_clip.OPENAI_DATASET_MEAN if name == NAME else TRAINING["mean"]
        assert model._model.visual.image_mean == mean

    def test_the_shape_of_the_temperature_does_not_matter(self, tmp_path: Path) -> None:
        state = clip().state_dict()
        save_file({**state, "logit_scale": state["logit_scale"].reshape(1)}, tmp_path / "clip.safetensors")
        LanguageModel.from_name(NAME, tmp_path / "clip.safetensors")

    def test_without_weights_the_file_to_get_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The hub's client read the environment variable when it was imported, maybe by another test.
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsUnavailableError) as caught:
            LanguageModel.from_name("ViT-B-16:openai")
        message = str(caught.value)
        assert "the weights of ViT-B-16 could not be downloaded" in message
        assert "open_clip_model.safetensors" in message
        assert "of timm/vit_base_patch16_clip_224.openai" in message
        assert "give the file as weights" in message
        assert caught.value.parameter == "weights"

    def test_a_pickle_that_would_run_code_is_refused(self, tmp_path: Path) -> None:
        marker = tmp_path / "was-run"

        class Attack:
            def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
                return Path.touch, (marker,)

        for name in ("attack.pt", "attack.bin"):
            torch.save({**clip().state_dict(), "x": Attack()}, tmp_path / name)
            with pytest.raises(WeightsUnavailableError, match="cannot be read as weights"):
                LanguageModel.from_name(f"{NAME}:some", tmp_path / name)
        assert not marker.exists()

    def test_torchscript_is_refused_without_unsafe_advice(self, tmp_path: Path) -> None:
        """OpenAI's own files are TorchScript."""
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "ViT-B-16.pt"))
        with pytest.raises(WeightsUnavailableError, match="(?s)TorchScript.*of nobody/tiny-clip") as caught:
            LanguageModel.from_name(f"{NAME}:some", tmp_path / "ViT-B-16.pt")
        assert "False" not in str(caught.value)

    def test_missing_and_unfitting_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsUnavailableError, match=r"no weights file .*gone.pt"):
            LanguageModel.from_name(NAME, tmp_path / "gone.pt")
        save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(
            WeightsUnavailableError, match=f"other.safetensors does not fit {NAME}: .*Missing key"
        ):
            LanguageModel.from_name(NAME, tmp_path / "other.safetensors")

    @pytest.mark.parametrize(
        ("name", "error", "message"),
        [
            ("ViT-B-15", UnknownModelError, "'ViT-B-15' is not a model of open_clip .*list_models"),
            ("RN50:openai", UnknownModelError, "'RN50' has no plain ViT"),
            ("coca_ViT-B-32", UnknownModelError, "'coca_ViT-B-32' has no plain ViT"),
            ("ViT-B-16-SigLIP:webli", UnknownModelError, "'ViT-B-16-SigLIP' has no plain ViT"),
            (f"{NAME}:none", UnknownModelError, f"no training 'none'; its models are {NAME}:some"),
            (
                NAME,
                WeightsUnavailableError,
                f"without weights. Give a file .*, or a model .*: its models are {NAME}:some",
            ),
            (
                "ViT-S-16",
                WeightsUnavailableError,
                "Give a file of weights, .*it has no training of this architecture",
            ),
        ],
    )
    def test_unusable_names_are_refused_with_advice(
        self, name: str, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            LanguageModel.from_name(name)

    def test_without_the_extra_the_command_to_install_it_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "open_clip", None)
        with pytest.raises(
            WeightsUnavailableError, match=r"pip install 'dynamic-clustering-network\[language\]'"
        ):
            LanguageModel.from_name("ViT-B-16:openai")


class TestClasses:
    """Cosines become classes of pixels and regions."""

    def test_logits_are_cosines(self) -> None:
        features, text = torch.randn(2, 9, 5) * 7, F.normalize(torch.randn(3, 5), dim=-1)
        logits = patch_logits(features, text)
        assert logits.shape == (2, 9, 3)
        expected = F.cosine_similarity(features[:, :, None], text[None, None], dim=-1)
        torch.testing.assert_close(logits, expected)

    def test_pixels_take_the_class_of_the_largest_upsampled_cosine(self) -> None:
        logits = torch.randn(16, 5)
        classes = classify_pixels(logits, 13, 10)
        (_, whole), *rest = upsampled_bands(logits, 13, 10)
        assert not rest
        np.testing.assert_array_equal(classes, whole.argmax(dim=0).numpy() + 1)
        assert classes.dtype == np.uint8

    def test_modes_of_a_hand_made_example(self) -> None:
        labels = np.array([[0, 0, 0, 1, 1], [2, 2, 2, 2, 4]], dtype=np.uint8)
        pixels = np.array([[3, 3, 1, 5, 5], [7, 7, 2, 2, 9]], dtype=np.uint8)
        foreground = np.array([True, False, True, True, True])
        # Region 1 is background; in region 2, classes 2 and 7 tie; region 3 does not occur.
        assert region_modes(labels, pixels, foreground).tolist() == [3, 0, 2, 0, 9]
        assert foreground_pixels(labels, pixels, foreground).tolist() == [[3, 3, 1, 0, 0], [7, 7, 2, 2, 9]]

    @given(st.integers(0, 10_000))
    @settings(max_examples=40)
    def test_modes_equal_those_of_scipy(self, seed: int) -> None:
        from scipy.stats import mode

        rng = np.random.default_rng(seed)
        labels, pixels = rng.integers(0, 4, (2, 6, 7)).astype(np.uint8)
        modes = region_modes(labels, pixels + 1, np.ones(4, dtype=bool))
        for region in np.unique(labels):
            assert modes[region] == mode(pixels[labels == region]).mode + 1

    def test_background_can_be_left_out(self) -> None:
        matrix = np.array([[0, 0, 0], [50, 8, 2], [30, 0, 4]])
        kept = without_background(matrix)
        np.testing.assert_allclose(class_iou(kept), [np.nan, 8 / 10, 4 / 6])
        assert mean_iou(kept) == pytest.approx((8 / 10 + 4 / 6) / 2)
        assert matrix[1, 0] == 50

    def test_features_become_region_classes_as_in_the_stage(self) -> None:
        model = language_model()
        names = ("background", "cat", "dog", "sofa")
        text = model.text_embeddings([class_prompts(name) for name in names[1:]])
        logits = patch_logits(model.patch_features(model.preprocess(photographs())), text)
        pixels = classify_pixels(logits[0], 20, 30)
        assert set(np.unique(pixels)) <= {1, 2, 3}
        labels = np.repeat([[0, 1, 2]], 20, axis=0).repeat(10, axis=1).astype(np.uint8)
        modes = region_modes(labels, pixels, np.array([True, False, True]))
        assert modes[1] == 0
        assert modes[0] == np.bincount(pixels[:, :10].ravel()).argmax()
