"""Ctrl-C in a terminal, SIGTERM and SIGHUP: the exit status, one sentence, and nothing is left running or behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows.execution.clusters import cluster_class
from tests.flows.helpers import command, records
from tests.servers import here, wait_until
from tests.terminal import open_terminal

pytestmark = pytest.mark.usefixtures("terminal_signals")
# A command ends within so many seconds.
SOON = 10.0


@pytest.fixture
def slow_extract(tiny_config: dict[str, Any], tmp_path: Path) -> list[str]:
    """A command whose shards take long enough to be met in their middle."""
    slow = {
        **tiny_config,
        "backbone": {**tiny_config["backbone"], "input_size": 480, "batch_size": 1},
        "shard_images": 1,
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(slow))
    return command("extract", config, "--workspace", tmp_path / "workspace")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables with a temporary folder of the test's own, which is as it was at the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    yield {**os.environ, "TMPDIR": str(temporary)}
    # PyTorch makes an empty folder of its own.
    assert [path.name for path in temporary.iterdir() if not path.name.startswith("torchinductor")] == []


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["kind=threads", "kind=dask"])
def test_ctrl_c_in_a_terminal_ends_everything_soon(
    runner: str, slow_extract: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    arguments = [*slow_extract, "--set", f"runner.{runner}", "--set", "runner.workers=2"]
    with open_terminal(arguments, environment) as terminal:
        running = terminal.process
        wait_until(
            lambda: len(records(tmp_path / "workspace", "extract")) >= 2 or running.poll() is not None,
            300,
            "a few shards",
        )
        assert running.poll() is None, terminal.shown
        children = terminal.press_ctrl_c()
        pressed = time.monotonic()
        assert running.wait(here(60)) == 130, terminal.shown
        assert time.monotonic() - pressed < here(SOON)
        assert terminal.shown.count("interrupted; the same command continues") == 1
        assert "Traceback" not in terminal.shown
        assert "KeyboardInterrupt" not in terminal.shown
        _, alive = psutil.wait_procs(children, 5)
        assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
        assert len(records(tmp_path / "workspace", "extract")) < 14


@pytest.mark.slow
def test_ctrl_c_while_workers_start_shows_no_traceback(
    slow_extract: list[str], environment: dict[str, str]
) -> None:
    arguments = [*slow_extract, "--set", "runner.kind=dask", "--set", "runner.workers=2"]
    with open_terminal(arguments, environment) as terminal:
        running = psutil.Process(terminal.process.pid)

        def workers() -> list[psutil.Process]:
            return [p for p in running.children() if any("spawn_main" in part for part in p.cmdline())]

        wait_until(lambda: len(workers()) == 2 or terminal.process.poll() is not None, 300, "workers", 0.01)
        terminal.press_ctrl_c()
        assert terminal.process.wait(here(60)) == 130, terminal.shown
        assert "Traceback" not in terminal.shown
        assert "interrupted; the same command continues" in terminal.shown


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command(
    number: signal.Signals, code: int, slow_extract: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    running = subprocess.Popen(slow_extract, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: bool(records(tmp_path / "workspace", "extract")), 300, "a shard")
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == code, errors
    assert "terminated; the same command continues" in errors
    assert "Traceback" not in errors


def test_the_import_of_a_cluster_keeps_the_handler_of_ctrl_c() -> None:
    """``dask_jobqueue.runner`` sets one that ends the process with status 0."""
    handler = signal.getsignal(signal.SIGINT)
    cluster_class("dask_jobqueue.SLURMCluster")
    assert signal.getsignal(signal.SIGINT) is handler
