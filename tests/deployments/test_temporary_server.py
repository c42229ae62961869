"""The temporary Prefect server of a command ends with the command, however the command ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.flows.helpers import command, end
from tests.servers import kill, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def training(tiny_config: dict[str, Any], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A command in the middle of a long training, with a temporary server."""
    train = {**tiny_config["train"], "iterations": 100_000, "save_seconds": 0}
    config_file, workspace = tmp_path / "config.yaml", tmp_path / "workspace"
    config_file.write_text(yaml.safe_dump({**tiny_config, "train": train}))
    running = subprocess.Popen(
        command("train", config_file, "--workspace", workspace),
        # By default Prefect retries six times, which takes minutes; a busy server needs one retry.
        env={**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_CLIENT_MAX_RETRIES": "2"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(
            lambda: any(workspace.glob("train/*/files/state.safetensors")) or running.poll() is not None,
            120,
            "the training",
        )
        assert running.poll() is None, running.communicate()
        yield running
    finally:
        running.kill()
        running.communicate()


def servers(running: subprocess.Popen[str]) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(running.pid).children(recursive=True)
        if "uvicorn" in child.cmdline()
    ]


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_it_ends_with_an_interrupted_command(
    number: signal.Signals, code: int, said: str, training: subprocess.Popen[str]
) -> None:
    (server,) = servers(training)
    training.send_signal(number)
    ended, errors = end(training)
    assert ended == code, errors
    assert f"{said}; the same command continues" in errors
    assert not server.is_running()


def test_a_killed_server_gives_a_message_and_no_traceback(training: subprocess.Popen[str]) -> None:
    kill(servers(training))
    training.send_signal(signal.SIGTERM)  # the flow then reports its end to the server
    code, errors = end(training)
    assert code == 1, errors
    assert "the Prefect server does not answer any more" in errors
    assert "the same command continues" in errors
