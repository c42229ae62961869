"""Mistakes of a user at the command line: one sentence, the exit status 1, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app


@pytest.mark.real
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "smaple"], "there is no configuration smaple"),
        (["run", "voc2012", "--set", "dataset.root=/nowhere"], "there is no /nowhere/VOCdevkit/VOC2012"),
        (["run", "sample", "--set", "backbone.name=dyno"], "backbone 'dyno' is neither a preset"),
        (["run", "sample", "--set", "backbone.name=dino-s8"], "dino_deitsmall8_pretrain.pth"),
        (["run", "sample", "--set", "backbone.input_size=393"], "393 is not a multiple of the patch size 14; try 392"),
        (["run", "sample", "--set", "backbone.device=cuda:9"], "device 'cuda:9' cannot be used on this machine"),
        (["run", "sample", "--workspace", "/proc/workspace"], "/proc/workspace cannot be made"),
        (["predict", "a.jpg", "--model", "gone", "--output", "out"], "there is no model file"),
        (["results", "sample", "--workspace", "nowhere"], "run the configuration first"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr + result.stdout
