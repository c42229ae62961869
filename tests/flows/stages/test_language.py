"""The stage ``language``, and the metrics of MaskCLIP with and without regions, on a tiny random CLIP."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.stats import mode
from sklearn.metrics import confusion_matrix
from torch import nn

from dcn.errors import InvalidOptionError, WeightsUnavailableError
from dcn.language.vocabulary import read_vocabulary
from flows.cli.export import export_labels
from flows.errors import InvalidSettingsError, describe_error
from flows.evaluation.protocols.language import Language
from flows.evaluation.results import read_results
from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import StageResult, compute_shards, run_stage
from flows.library.naming import name_run
from flows.settings import Settings
from tests.conftest import draw_scene
from tests.flows.helpers import changed, mask_folder_of, photograph_folder_of, run_stages

NAME = "tiny-stage-8"
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 24, "head_width": 12, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TRAINING = {"hf_hub": "nobody/tiny-clip/", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
COLORS = ("background", "red", "blue", "green", "gray")


@pytest.fixture(scope="module", autouse=True)
def architecture() -> Iterator[None]:
    """Register an architecture with open_clip, and pretrained weights of it that no hub has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(open_clip.factory._MODEL_CONFIGS, NAME, CONFIG)
        patch.setitem(open_clip.pretrained._PRETRAINED, NAME, {"some": TRAINING})
        yield


def save_clip(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CONFIG)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    nn.init.normal_(model.token_embedding.weight, std=5)  # so that embeddings of class names differ
    save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def settings(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Six photographs whose class file names more classes than occur, so that the model has a choice."""
    root = tmp_path_factory.mktemp("language")
    for seed in range(6):
        pixels, mask = draw_scene(seed, 48 + seed, 64)
        mask[0] = 255
        for folder, array in (("photos", pixels), ("masks", mask)):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{seed}.png")
    (root / "classes.txt").write_text("\n".join(COLORS))
    dataset = {
        "name": "folder",
        "root": str(root / "photos"),
        "masks": str(root / "masks"),
        "classes": str(root / "classes.txt"),
    }
    weights = save_clip(root / "clip.safetensors", seed=1)
    return Settings.model_validate(
        {
            **tiny_config,
            "dataset": dataset,
            "segment": {"segmenter": {"name": "kmeans", "num_regions": 4}},
            "evaluate": {"num_seeds": 1, "num_clusters": 3, "attainable_images": 0},
            "language": {"model": f"{NAME}:some", "weights": str(weights), "input_size": 48},
            "workspace": str(root / "workspace"),
        }
    )


@pytest.fixture(scope="module")
def ran(settings: Settings) -> dict[str, StageResult]:
    return run_stages(settings)


@pytest.fixture(scope="module")
def pixel_classes(settings: Settings, ran: dict[str, StageResult]) -> list[np.ndarray]:
    """MaskCLIP's class of every pixel, computed from the cached cosines."""
    logits = find_job(settings).checkpoint("language").array("logits").rows(0, 6)
    assert logits.shape == (6, 36, 4)
    assert (np.abs(logits) <= 1).all()
    classes = []
    for row in range(6):
        grid = torch.from_numpy(logits[row].astype(np.float32)).T.reshape(1, 4, 6, 6)
        whole = F.interpolate(grid, (48 + row, 64), mode="bilinear", align_corners=False)
        classes.append(whole[0].argmax(dim=0).numpy() + 1)
    assert len(np.unique(np.concatenate([labels.ravel() for labels in classes]))) >= 3
    return classes


def test_cosines_equal_those_of_open_clips_forward_pass(
    settings: Settings, ran: dict[str, StageResult]
) -> None:
    """In its last block, every token attends to itself alone."""
    model = open_clip.CLIP(**{**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "image_size": 48}}).eval()
    weights = settings.language.weights
    assert weights is not None
    state = load_file(weights)
    open_clip.model.resize_pos_embed(state, model)
    model.load_state_dict(state)
    visual = model.visual
    templates = [*open_clip.OPENAI_IMAGENET_TEMPLATES, *(
        lambda c, t=t: t.format(c) for t in (
            "there is a {} in the scene.", "there is the {} in the scene.", "this is a {} in the scene.",
            "this is the {} in the scene.", "this is one {} in the scene.",
        )
    )]  # fmt: skip
    with torch.inference_mode():
        text = open_clip.build_zero_shot_classifier(
            model, open_clip.get_tokenizer(NAME), list(COLORS[1:]), templates
        )
        mean, std = (torch.tensor(TRAINING[name]).view(3, 1, 1) for name in ("mean", "std"))
        pictures = [
            Image.open(photograph_folder_of(settings) / f"{seed}.png").resize((48, 48), 3)
            for seed in range(6)
        ]
        inputs = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) / 255 for p in pictures])
        x = visual._embeds((inputs - mean) / std)
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = block(x)
        alone = torch.full((37, 37), -torch.inf).fill_diagonal_(0)
        features = visual.ln_post(last(x, attn_mask=alone))[:, 1:] @ visual.proj
        expected = F.normalize(features, dim=-1) @ text
    logits = find_job(settings).checkpoint("language").array("logits").rows(0, 6)
    np.testing.assert_allclose(logits.astype(np.float32), expected.numpy(), atol=2e-3)


def test_metrics_of_pixels_and_of_region_modes_equal_scikit_learn(
    settings: Settings, pixel_classes: list[np.ndarray], tmp_path: Path
) -> None:
    job = find_job(settings)
    export_labels(settings, "regions", tmp_path)
    foreground = job.checkpoint("segment").array("foreground").rows(0, 6)
    truth, alone, inside, modes = [], [], [], []
    for row, classes in enumerate(pixel_classes):
        regions = np.asarray(Image.open(tmp_path / f"{row}.png"))
        kept = foreground[row][regions]
        of_region = np.zeros_like(classes)
        for region in np.unique(regions[kept]):
            of_region[regions == region] = mode(classes[regions == region]).mode
        truth.append(np.asarray(Image.open(mask_folder_of(settings) / f"{row}.png")).ravel())
        alone.append(classes.ravel())
        inside.append(np.where(kept, classes, 0).ravel())
        modes.append(of_region.ravel())
    labels = np.concatenate(truth)
    found = read_results(job).of(Language)
    for metrics, predicted, counted in (
        (found.pixels_where_no_background, alone, (labels != 255) & (labels != 0)),
        (found.pixels_in_foreground, inside, labels != 255),
        (found.regions, modes, labels != 255),
    ):
        shown = np.concatenate(predicted)[counted]
        matrix = confusion_matrix(shown, labels[counted], labels=range(5))  # rows are predicted
        assert metrics.confusion == matrix.tolist()
        hits, occurs = matrix.diagonal(), matrix.sum(axis=0) > 0
        iou = hits / (matrix.sum(axis=0) + matrix.sum(axis=1) - hits).clip(min=1)
        expected = [pytest.approx(value) if there else None for value, there in zip(iou, occurs, strict=True)]
        assert metrics.class_iou == expected
        assert metrics.miou == pytest.approx(iou[occurs].mean())
        assert metrics.accuracy == pytest.approx((shown == labels[counted]).mean())
    assert found.regions != found.pixels_in_foreground
    assert occurs.tolist() == [True, True, True, False, False]


def test_the_report_shows_all_three_results(settings: Settings, ran: dict[str, StageResult]) -> None:
    page = find_job(settings).checkpoint("report").read_file("report.html").decode()
    for title in ("pixels that are no background", "pixels in foreground regions", "regions + MaskCLIP"):
        assert title in page


def test_classes_of_the_ground_truth_need_no_names(settings: Settings, ran: dict[str, StageResult]) -> None:
    with pytest.raises(InvalidSettingsError, match="have names already, because clusters were matched"):
        name_run(settings, read_vocabulary("voc"))


def test_a_second_run_computes_nothing(settings: Settings, ran: dict[str, StageResult]) -> None:
    assert all(result.reused for result in run_stages(settings).values())


def test_only_settings_that_change_its_output_recompute_the_language_stage(
    settings: Settings, ran: dict[str, StageResult], tmp_path: Path
) -> None:
    def keys(**sections: dict[str, Any]) -> dict[str, str]:
        return dict(find_job(changed(settings, **sections)).keys)

    before = keys()
    other, copy = (
        save_clip(tmp_path / "other.safetensors", seed=2),
        save_clip(tmp_path / "copy.safetensors", seed=1),
    )
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"language": {"input_size": 64}}, {"language", "evaluate", "report"}),
        ({"language": {"weights": str(other)}}, {"language", "evaluate", "report"}),
        ({"language": {"weights": str(copy)}}, set()),
        ({"segment": {"region_score": "mean"}}, {"segment", "embed", "evaluate", "report"}),
    ]
    for sections, recomputed in cases:
        after = keys(**sections)
        assert {stage for stage in before if after[stage] != before[stage]} == recomputed
    without = changed(settings, language={"model": None, "weights": None})
    assert "language" not in stages_up_to(None, without)
    assert find_job(without).keys["embed"] == before["embed"]


@pytest.mark.parametrize(
    ("language", "error", "message"),
    [
        ({"weights": "gone.pt"}, WeightsUnavailableError, r"there is no weights file .*gone.pt \(setting language.weights\)"),
        (
            {"weights": None},
            WeightsUnavailableError,
            r"(?s)could not be downloaded.*download .* of nobody/tiny-clip .*give the file as weights \(setting language.weights\)",
        ),
        ({"weights": None, "model": NAME}, WeightsUnavailableError, rf"its models are {NAME}:some \(setting language.weights\)"),
        ({"input_size": 50}, InvalidOptionError, "language input size 50 is not a multiple of the patch size 8; try 48"),
    ],
)  # fmt: skip
def test_unusable_models_are_named_with_advice(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    language: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(error) as caught:
        run_stages(changed(settings, language=language), "language")
    assert re.search(message, describe_error(caught.value))


def test_the_language_stage_needs_a_model_and_class_names(settings: Settings) -> None:
    with pytest.raises(InvalidSettingsError, match="language.model is empty: set it to"):
        run_stages(changed(settings, language={"model": None, "weights": None}), "language")
    with pytest.raises(InvalidSettingsError, match="the stage language needs class names"):
        run_stages(changed(settings, dataset={"masks": None, "classes": None}), "language")


def test_a_missing_photograph_counts_as_background(
    settings: Settings, tmp_path: Path, pixel_classes: list[np.ndarray]
) -> None:
    """So does a region without an embedding."""
    shutil.copytree(photograph_folder_of(settings), tmp_path / "photos")
    here = changed(
        settings, dataset={"root": str(tmp_path / "photos")}, workspace=str(tmp_path / "workspace")
    )
    for last in ("embed", "embed_truth"):
        run_stages(here, last)
    job = find_job(here)
    (tmp_path / "photos" / "3.png").unlink()
    results = {
        stage: run_stage(job, stage, compute_shards, lambda _: None) for stage in ("language", "evaluate")
    }
    (warning,) = results["language"].warnings
    assert warning.startswith("3.png counts as background: it cannot be read any more")
    area = job.checkpoint("segment").array("area").rows(3, 4)
    classes = job.checkpoint("evaluate").array("language_class").rows(0, 6)
    assert area.any()
    assert not classes[3].any()
    assert all(classes[row].any() for row in (0, 1, 2, 4, 5))
    pixels = job.checkpoint("evaluate").array("language_pixels").rows(3, 4)[0]
    assert pixels[0].sum() == pixels.sum() > 0
