"""``dcn status``: the state of each stage, and the early end of a training."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from flows.cli.app import app
from flows.settings import Settings
from tests.flows.helpers import changed, run_stages


def status(settings: Settings, folder: Path) -> str:
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    result = CliRunner().invoke(app, ["status", str(config)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_whole_training_has_no_remark(finished: Settings, tmp_path: Path) -> None:
    shown = status(finished, tmp_path)
    assert "complete" in shown
    assert "ended" not in shown


def test_an_early_end_is_said_below_the_table(copy: Settings, tmp_path: Path) -> None:
    settings = changed(copy, train={"check_every": 2, "patience": 2, "learning_rate": 1e-12, "num_stages": 1})
    run_stages(settings, "train")
    words = "train ended after 6 of 12 iterations: held-out modularity stood still"
    assert status(settings, tmp_path).splitlines()[-1] == words
