"""Names of clusters by a small random CLIP, on photographs of three colors whose names it was made to know."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from dcn.class_names import read_names
from dcn.language.maskclip import LanguageModel
from dcn.language.naming import ClusterName
from dcn.language.prompts import short_prompts
from dcn.language.vocabulary import read_vocabulary
from flows.cli.naming import print_names
from flows.errors import FlowError, InvalidSettingsError
from flows.evaluation.named_classes import named_classes
from flows.evaluation.protocols.kmeans import CENTERS, CLASS_OF_CLUSTER, SEMANTIC
from flows.execution.plan import find_job, stages_up_to
from flows.inputs.image_index import open_index
from flows.library.naming import name_run, names_yaml
from flows.settings import Settings
from storage import CheckpointMissingError
from tests.flows.helpers import changed, run_stages

NAME = "tiny-naming-8"
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 24, "head_width": 12, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TRAINING = {"hf_hub": "nobody/tiny-naming/", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
COLORS = {"red": (220, 30, 20), "green": (20, 200, 40), "blue": (30, 20, 230)}


@pytest.fixture(scope="module", autouse=True)
def architecture() -> Iterator[None]:
    """Register an architecture with open_clip, and pretrained weights of it that no hub has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(open_clip.factory._MODEL_CONFIGS, NAME, CONFIG)
        patch.setitem(open_clip.pretrained._PRETRAINED, NAME, {"some": TRAINING})
        yield


def photograph(color: str, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(scale=2, size=(40, 48, 3))
    return (np.array(COLORS[color]) + noise).clip(0, 255).astype(np.uint8)


def write_clip(path: Path) -> None:
    """A random CLIP whose text projection sends the sentences on each color to the image of that color."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(**CONFIG)
    for parameter in clip.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.normal_(clip.token_embedding.weight, std=5)
    open_clip.set_model_preprocess_cfg(clip, {"mean": TRAINING["mean"], "std": TRAINING["std"]})
    model = LanguageModel(clip, open_clip.get_tokenizer(NAME))
    seen, read = [], []
    with torch.inference_mode():
        clip.text_projection.copy_(torch.eye(16))
        for color in COLORS:
            features = model.patch_features(model.preprocess(photograph(color, 99)[None, :32, :32]))[0]
            sentences = clip.encode_text(open_clip.get_tokenizer(NAME)(short_prompts([color])))
            read.append(sentences)
            seen.append(torch.nn.functional.normalize(features.mean(dim=0), dim=0).expand(len(sentences), 16))
        common = torch.cat(seen).mean(
            dim=0
        )  # images of a random tower differ little; their differences count
        solved = torch.linalg.lstsq(torch.cat(read), torch.cat(seen) - common).solution
        clip.text_projection.copy_(solved)
    save_file(clip.state_dict(), path)


@pytest.fixture(scope="module")
def settings(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Nine photographs of one color each, three of each color. Every photograph is one region."""
    root = tmp_path_factory.mktemp("naming")
    (root / "photos").mkdir()
    for number, color in enumerate([*COLORS] * 3):
        Image.fromarray(photograph(color, number)).save(root / "photos" / f"{number}-{color}.png")
    write_clip(root / "clip.safetensors")
    settings = Settings.model_validate(
        {
            **tiny_config,
            "dataset": {"name": "folder", "root": str(root / "photos")},
            "segment": {"segmenter": {"name": "kmeans", "num_regions": 1}},
            "evaluate": {"num_seeds": 3, "num_clusters": 3, "attainable_images": 0},
            "language": {
                "model": f"{NAME}:some",
                "weights": str(root / "clip.safetensors"),
                "input_size": 32,
            },
            "workspace": str(root / "workspace"),
        }
    )
    run_stages(settings, "evaluate")
    return settings


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "colors.txt"
    path.write_text("blue\nred\ngreen\nRed\n")
    return path


def test_a_run_without_ground_truth_needs_no_stage_language(settings: Settings) -> None:
    assert "language" not in stages_up_to(None, settings)


def test_every_cluster_has_the_name_of_its_color(
    settings: Settings, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "names.yaml"
    print_names(settings, str(words), file)
    named = changed(settings, report={"names": str(file)})
    job = find_job(named)
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)
    classes = named_classes(job)
    for image in open_index(job).images():
        assert classes.names[classes.of_clusters(semantic[image.row])[0]] in image.item.id
    assert set(classes.names) == {"background", *COLORS}
    printed = capsys.readouterr()
    assert "taken once: Red" in printed.err
    assert all(color in printed.out for color in COLORS)


def test_a_file_that_cannot_be_written_is_said_before_the_work(
    settings: Settings, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cli.naming.name_run", lambda *_: pytest.fail("it began to work"))
    mine = tmp_path / "mine.yaml"
    mine.write_text("1: mine\n")
    with pytest.raises(FlowError, match=r"mine.yaml exists, and may have names of yours; choose another"):
        print_names(settings, str(words), mine)
    with pytest.raises(FlowError, match=r"there is no folder .*nowhere; make it, or choose another file"):
        print_names(settings, str(words), tmp_path / "nowhere" / "names.yaml")
    assert mine.read_text() == "1: mine\n"


def test_names_are_printed_although_their_file_cannot_be_written(
    settings: Settings,
    words: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def name_while_another_program_writes(*arguments: Any) -> list[ClusterName]:
        (tmp_path / "names.yaml").write_text("1: mine\n")
        return name_run(*arguments)

    monkeypatch.setattr("flows.cli.naming.name_run", name_while_another_program_writes)
    with pytest.raises(FlowError, match="exists, and may have names of yours"):
        print_names(settings, str(words), tmp_path / "names.yaml")
    printed = capsys.readouterr().out
    assert all(color in printed for color in COLORS)


def test_scores_are_probabilities_over_the_regions_of_a_cluster(settings: Settings, words: Path) -> None:
    names = name_run(settings, read_vocabulary(str(words)))
    assert sum(one.regions for one in names) == 9
    for one in names:
        assert 1 >= one.score >= one.runner_up_score >= 0
        assert one.name != one.runner_up


def test_merged_clusters_without_ground_truth_are_classes(settings: Settings) -> None:
    merged = changed(settings, evaluate={"overclustering": 2, "num_clusters": 2})
    run_stages(merged, "evaluate")
    job = find_job(merged)
    assert named_classes(job).names == ("background", "cluster 1", "cluster 2")
    class_of_center = job.checkpoint("evaluate").read_values(CLASS_OF_CLUSTER)
    assert set(class_of_center.tolist()) == {0, 1, 2}
    assert len(class_of_center) == 5
    assert len(job.checkpoint("evaluate").read_values(CENTERS)) == 4


def test_what_is_missing_is_said(settings: Settings, words: Path, tmp_path: Path) -> None:
    vocabulary = read_vocabulary(str(words))
    with pytest.raises(InvalidSettingsError, match="language.model is empty: set it to"):
        name_run(changed(settings, language={"model": None, "weights": None}), vocabulary)
    with pytest.raises(CheckpointMissingError, match="has no clusters of these photographs"):
        name_run(changed(settings, workspace=str(tmp_path / "empty")), vocabulary)
    with pytest.raises(CheckpointMissingError, match="evaluate"):
        name_run(changed(settings, evaluate={"num_clusters": 2}), vocabulary)


letters = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=12)


@given(st.lists(letters, min_size=1, max_size=5, unique=True))
def test_any_name_is_read_again_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, given: list[str]
) -> None:
    import unicodedata

    names = [unicodedata.normalize("NFC", name) for name in given]
    found = [ClusterName(number, name, 0.5, name, 0.1, 3) for number, name in enumerate(names, start=1)]
    path = tmp_path_factory.mktemp("names") / "names.yaml"
    path.write_text(names_yaml(found, "ViT:openai", "a # list"), encoding="utf-8")
    assert read_names(path) == dict(enumerate(names, start=1))
