"""``dcn predict`` and ``dcn export-model`` on the tiny pipeline: files, tables, classes and refusals."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from flows.cli.app import app
from flows.cli.export import export_labels
from flows.execution.plan import find_job
from flows.inputs.image_index import open_index
from flows.settings import Settings
from tests.conftest import draw_scene
from tests.flows.helpers import photograph_folder_of


@pytest.fixture
def config(finished: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of the finished pipeline, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(finished.model_dump(mode="json")))
    return path


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "regions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_photographs_of_the_data_set_get_the_files_of_its_export(
    finished: Settings, config: Path, tmp_path: Path
) -> None:
    root = photograph_folder_of(finished)
    result = predict(root, "--model", "mine.yaml")
    assert result.exit_code == 0, result.output
    predicted = tmp_path / "predicted"
    assert sorted(path.name for path in predicted.iterdir()) == [
        "classes.json", "overlays", "regions", "regions.csv", "semantic",
    ]  # fmt: skip
    for what in ("regions", "semantic"):
        export_labels(finished, what, tmp_path / "exported" / what, ("png", "csv"))
        for image in open_index(find_job(finished)).images():
            found = Image.open(predicted / what / f"{image.item.id}.png")
            expected = Image.open(tmp_path / "exported" / what / f"{image.item.id}.png")
            np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
            if what == "semantic":
                assert found.getpalette() == expected.getpalette()
            assert Image.open(predicted / "overlays" / f"{image.item.id}.jpg").size == found.size
    exported, given = rows(tmp_path / "exported" / "semantic"), rows(predicted)
    assert len(exported) == len(given)
    for theirs, ours in zip(exported, given, strict=True):
        assert ours.pop("photograph") == str(root / theirs.pop("photograph"))
        assert float(ours.pop("distance") or "nan") == pytest.approx(
            float(theirs.pop("distance") or "nan"), abs=1e-5, nan_ok=True
        )
        assert set(ours) - set(theirs) == {"score", "confidence"}
        assert {name: ours[name] for name in theirs} == theirs
    classes = json.loads((predicted / "classes.json").read_text())
    assert classes == json.loads((tmp_path / "exported" / "semantic" / "classes.json").read_text())
    assert re.search(r"predict 14/14, done in 0:\d\d:\d\d", result.output)
    assert "14 photographs, 0 refused: regions/, semantic/, overlays/ and regions.csv" in result.output


def test_a_photograph_that_cannot_be_read_is_named_and_the_rest_goes_on(config: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(draw_scene(20)[0]).save(tmp_path / "new" / name)
    (tmp_path / "new" / "b.jpg").write_bytes(b"no")
    (tmp_path / "new" / "notes.txt").write_text("x")
    result = predict("new", "gone.png", "--model", "mine.yaml", "--output", "out")
    assert result.exit_code == 1
    assert "refused new/b.jpg: the file is not an image of a known format" in result.output
    assert "refused gone.png: No such file or directory" in result.output
    assert "2 photographs, 2 refused, 1 other file skipped (1 txt)" in result.output
    assert sorted(path.name for path in (tmp_path / "out" / "regions").iterdir()) == ["a.png", "c.png"]
    assert {row["photograph"] for row in rows(tmp_path / "out")} == {"new/a.png", "new/c.png"}


def test_results_among_the_photographs_are_refused_before_anything_is_loaded(
    config: Path, tmp_path: Path
) -> None:
    Image.fromarray(draw_scene(20)[0]).save(tmp_path / "a.png")
    before = sorted(tmp_path.rglob("*"))
    for arguments in ((".",), ("a.png", "--output", ".")):
        result = predict(*arguments, "--model", "gone")
        assert result.exit_code == 1
        assert "choose an" in result.output.replace("\n", " ")
    assert sorted(tmp_path.rglob("*")) == before


def test_names_of_a_person_join_classes(finished: Settings, config: Path, tmp_path: Path) -> None:
    Image.fromarray(draw_scene(20)[0]).save(tmp_path / "a.png")
    (tmp_path / "names.yaml").write_text("1: cat\n2: cat\n")
    result = predict("a.png", "--model", "mine.yaml", "--names", "names.yaml", "--output", "out")
    assert result.exit_code == 0, result.output
    classes = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert [one["name"] for one in classes] == ["background", "cat"]
    assert {row["class"] for row in rows(tmp_path / "out")} <= {"background", "cat"}
    wrong = predict("a.png", "--model", "mine.yaml", "--names", "gone.yaml")
    assert wrong.exit_code == 1
    assert "gone.yaml cannot be read: No such file or directory (option --names)" in wrong.output.replace(
        "\n", ""
    )


def test_an_exported_model_predicts_the_same(finished: Settings, config: Path, tmp_path: Path) -> None:
    exported = CliRunner().invoke(app, ["export-model", "mine.yaml", "--output", "taken"])
    assert exported.exit_code == 0, exported.output
    assert "taken/model.safetensors: the whole model, 4.8 MB, 3 classes" in exported.output
    photograph = next(photograph_folder_of(finished).rglob("*.png"))
    weights = finished.backbone.weights
    for model in ("mine.yaml", "taken", "taken/model.safetensors"):
        result = predict(
            photograph, "--model", model, "--weights", weights, "--output", f"of {Path(model).name}"
        )
        assert result.exit_code == 0, result.output
    found = {tuple(map(str, row.values())) for name in ("mine.yaml", "taken", "model.safetensors")
             for row in rows(tmp_path / f"of {name}")}  # fmt: skip
    assert len(found) == len(rows(tmp_path / "of taken"))
    missing = predict(photograph, "--model", "taken", "--output", "out")
    assert missing.exit_code == 1
    assert "trained with the file tiny.safetensors" in missing.output.replace("\n", " ")
    assert "(option --weights)" in missing.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


@pytest.mark.real
def test_without_a_model_the_network_as_it_starts_finds_regions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    for seed in range(3):
        Image.fromarray(draw_scene(seed)[0]).save(tmp_path / "photos" / f"{seed}.png")
    monkeypatch.chdir(tmp_path / "empty")
    result = predict("../photos")
    assert result.exit_code == 0, result.output
    assert "without --model: the network as it starts, untrained, on focus-s14" in result.output
    assert sorted(path.name for path in (tmp_path / "empty" / "predicted").iterdir()) == [
        "overlays", "regions", "regions.csv",
    ]  # fmt: skip
    for seed in range(3):
        labels = np.asarray(Image.open(tmp_path / "empty" / "predicted" / "regions" / f"{seed}.png"))
        assert labels.shape == (48, 64)
        assert len(np.unique(labels)) > 1
    nothing = predict("gone.png", "--output", "none")
    assert nothing.exit_code == 1
    assert "none of the photographs can be read" in nothing.output
