"""Names that are no Unicode: photographs and masks are used, the other places are refused in one sentence."""

import os
import shutil
from pathlib import Path

import pytest

from flows.cli.export import export_labels
from flows.errors import InvalidSettingsError
from flows.execution.plan import find_job
from flows.inputs.image_index import open_index
from flows.settings import Settings
from flows.settings.loading import load_settings
from tests.flows.helpers import MakeSettings, run_stages

NAME = os.fsdecode(b"M\xf6we")
SENTENCE = r"its name is not Unicode \(UTF-8\); rename it, or make a link \(ln -s\) with another name$"


@pytest.fixture
def odd(photograph_folder: Path, tmp_path: Path) -> Path:
    """A folder with such a name that holds the photographs, their masks and classes, and a file of weights."""
    folder = tmp_path / NAME
    shutil.copytree(photograph_folder, folder)
    (folder / "w.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "override",
    [
        "workspace={}",
        "dataset={{name: folder, root: {}/photos}}",
        "backbone.weights={}/w.safetensors",
        "sweep.over={{train.seed: [{}]}}",
    ],
)
def test_a_setting_with_such_a_name_is_refused(odd: Path, override: str) -> None:
    with pytest.raises(
        InvalidSettingsError, match=f"^--set {override.partition('=')[0]}=.*{NAME}.*{SENTENCE}"
    ):
        load_settings("sample", [override.format(odd)])


def test_the_option_of_the_workspace_is_refused_as_well(odd: Path) -> None:
    with pytest.raises(InvalidSettingsError, match=f"^--workspace: workspace: .*{SENTENCE}"):
        load_settings("sample", workspace=str(odd))


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"workspace": "w"}, "workspace"),
        ({"workspace": "/w", "dataset": {"name": "folder", "root": "photos"}}, "dataset.root"),
        ({"workspace": "/w", "backbone": {"weights": "x"}}, "backbone.weights"),
        ({"workspace": "s3://b/w", "runner": {"kind": "dask", "address": "tls://h:1", "tls": {"ca_file": "a", "cert": "/b", "key": "/c"}}}, "runner.tls.ca_file"),
    ],
)  # fmt: skip
def test_a_relative_path_in_a_working_folder_with_such_a_name_is_refused(
    odd: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object], setting: str
) -> None:
    monkeypatch.chdir(odd)
    with pytest.raises(InvalidSettingsError, match=f"^{setting}: .*{SENTENCE}"):
        Settings.model_validate(values).resolve()


def test_the_link_that_the_sentence_offers_works(
    odd: Path, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "gull").symlink_to(odd)
    root = tmp_path / "gull"
    truth = {"masks": str(root / "masks"), "classes": str(root / "classes.txt")}
    settings = tiny_settings(
        dataset={"root": str(root / "photos"), **truth}, workspace=str(root / "workspace")
    )
    results = run_stages(settings, "extract")
    assert results["index"].manifest.summary["labelled"] == 14
    assert (odd / "workspace" / "extract").is_dir()


def test_a_configuration_with_such_a_name_is_read_and_named(odd: Path) -> None:
    path = odd / f"{NAME}.yaml"
    path.write_text("train: {seed: 7}")
    assert load_settings(path).train.seed == 7
    path.write_text("train: {seed: x}")
    with pytest.raises(InvalidSettingsError, match=f"{NAME}.yaml, line 1: train.seed: write a whole number"):
        load_settings(str(path))


@pytest.mark.slow
def test_photographs_and_masks_with_such_names_are_used_and_exported(
    photograph_folder: Path, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    for place in ("photos", "masks"):
        (folder / place / NAME).mkdir(parents=True)
        for number in range(2):
            shutil.copy(
                photograph_folder / place / "right" / f"scene {2 * number:02d}.png",
                folder / place / NAME / f"{NAME} {number}.png",
            )
    truth = {"masks": str(folder / "masks"), "classes": str(photograph_folder / "classes.txt")}
    settings = tiny_settings(
        dataset={"root": str(folder / "photos"), **truth}, train={"iterations": 1, "batch_size": 2}
    )
    results = run_stages(settings, "segment")
    assert results["index"].manifest.summary["labelled"] == 2
    ids = [image.item.id for image in open_index(find_job(settings)).images()]
    assert ids == [f"{NAME}/{NAME} {number}" for number in range(2)]
    output = tmp_path / NAME  # a folder for results may have any name
    assert export_labels(settings, "regions", output) == 2
    assert sorted(os.fsencode(path.name) for path in (output / NAME).iterdir()) == [
        b"M\xf6we 0.png",
        b"M\xf6we 1.png",
    ]
