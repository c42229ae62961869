"""Fixtures of the tests of the command line."""

import subprocess
from pathlib import Path

import pytest
import yaml

from flows.settings import Settings
from tests.flows.helpers import RunCommand, command


@pytest.fixture
def config(copy: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of the copy, in the current folder of the test."""
    monkeypatch.chdir(tmp_path)
    path = Path("[red] tiny.yaml")
    path.write_text(yaml.safe_dump(copy.model_dump(mode="json")))
    return path


@pytest.fixture
def process() -> RunCommand:
    """Runs the command line in a process of its own. A traceback fails the test."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=600)
        assert "Traceback" not in result.stderr + result.stdout
        return result

    return run
