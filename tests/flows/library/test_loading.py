"""A model is found by everything that names it, and a name that leads to none or to several is a sentence."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import dcn
from dcn.errors import WeightsUnavailableError
from dcn.images.photograph import decode_photograph
from dcn.model import Model
from flows.errors import FlowError
from flows.execution.plan import find_job
from flows.inputs.image_index import open_index
from flows.library.run_model import model_of_run
from flows.settings import Settings
from storage import CheckpointMissingError
from tests.flows.helpers import changed, photograph_folder_of, run_stages


@pytest.fixture
def config(finished: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(finished.model_dump(mode="json")))
    return path


def test_every_name_of_a_model_leads_to_it(finished: Settings, config: Path, tmp_path: Path) -> None:
    key = find_job(finished).keys["train"]
    folder = Path(finished.workspace) / "train" / key
    shutil.copytree(folder, tmp_path / "copied")
    dcn.load(config).save_pretrained(tmp_path / "hub")
    expected = dcn.load(config).stored
    complete: list[str | Path] = [config, finished.workspace, folder, folder.with_name(key[:5]), f"{folder}/"]
    for source in complete:
        assert dcn.load(source).stored.to_bytes() == expected.to_bytes(), source
    assert dcn.load(key[:8], workspace=finished.workspace).stored.to_bytes() == expected.to_bytes()
    portable = expected.portable().to_bytes()
    for source in (tmp_path / "hub", tmp_path / "hub" / "model.safetensors"):
        assert dcn.load(source).stored.to_bytes() == portable
    for source in (tmp_path / "copied", tmp_path / "copied" / "files" / "dcn.safetensors"):
        assert dcn.load(source).stored.description.network == expected.description.network
        assert dcn.load(source).class_centers is None


def test_the_model_finds_the_regions_and_classes_of_the_run(finished: Settings) -> None:
    model, job = Model(model_of_run(finished), device="cpu"), find_job(finished)
    root = photograph_folder_of(finished)
    images = list(open_index(job).images())
    semantic = job.checkpoint("evaluate").read_values("semantic.npy")
    found = model.segment([root / image.item.image for image in images])
    for name in ("area", "box", "foreground", "assignment"):
        expected = job.checkpoint("segment").array(name).rows(0, len(images))
        np.testing.assert_array_equal([getattr(result, name) for result in found], expected, err_msg=name)
    embedding = job.checkpoint("embed").array("embedding").rows(0, len(images))
    for image, result in zip(images, found, strict=True):
        for region in result.regions:
            assert region.class_index == semantic[image.row, region.label]
        for label, vector in result.embeddings.items():
            np.testing.assert_allclose(vector, embedding[image.row, label], atol=1e-5)
    assert found[0].class_names == ("background", "red", "blue")


def test_settings_of_the_segmentation_apply(finished: Settings) -> None:
    photograph = next(photograph_folder_of(finished).rglob("*.png"))
    chosen = changed(finished, segment={"refine": False, "region_score": "mean"})
    model = Model(model_of_run(chosen), device="cpu")
    assert model.stored.description.regions is not None
    assert not model.stored.description.regions.refine
    assert model.class_centers is None  # this segmentation was never evaluated
    result = model.segment(photograph)
    np.testing.assert_array_equal(
        result.labels, dcn.label_map(result.assignment, *decode_photograph(photograph.read_bytes()).shape[:2])
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", "there is no model file, folder or configuration gone"),
        ("gone.yaml", "there is no configuration gone.yaml"),
        ("nowhere/train/abcd", "there is no workspace .*nowhere"),
        ("abcd", "there is no workspace .*workspace"),
        ("empty", "empty has no training; give the folder of a workspace with a trained network"),
    ],
)
def test_a_name_that_leads_nowhere_is_a_sentence(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FlowError, match=message):
        dcn.load(source)


def test_a_model_of_the_hub_that_cannot_be_reached_is_a_sentence() -> None:
    with pytest.raises(
        WeightsUnavailableError, match="there is no folder owner/name, and no model of this id"
    ):
        dcn.load("owner/name")


def test_several_trainings_are_listed(copy: Settings) -> None:
    run_stages(changed(copy, train={"seed": 7, "iterations": 1}), "train")
    with pytest.raises(FlowError, match="has more than one training: ") as caught:
        dcn.load(copy.workspace)
    key = find_job(copy).keys["train"]
    assert key in str(caught.value)
    assert dcn.load(f"{copy.workspace}/train/{key[:8]}").class_centers is not None


def test_a_configuration_without_a_trained_network_says_what_is_missing(
    finished: Settings, config: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointMissingError, match="has no network that was trained on these photographs"):
        dcn.load(config, workspace=str(tmp_path / "other"))
    with pytest.raises(CheckpointMissingError, match="train/.* does not exist"):
        dcn.load(config, overrides=["train.seed=7"])
    with pytest.raises(FlowError, match="segments by kmeans, which has no network"):
        dcn.load(config, overrides=["segment.segmenter.name=kmeans"])
