"""SIGKILL of a flow run's process, and of a worker with it: nothing is lost, nothing is computed twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from flows.settings import Settings
from tests.flows.deployed import Deployed
from tests.flows.helpers import digests, run_stages
from tests.servers import kill, wait_until, work

MakeSettings = Callable[..., Settings]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
IMAGES = 14


@pytest.fixture
def settings(tiny_settings: MakeSettings) -> Settings:
    """An image a shard, and enough iterations to be killed in between."""
    return tiny_settings(shard_images=1, train={"iterations": 400, "save_every": 20, "check_every": 100})


@pytest.fixture
def undisturbed(settings: Settings, tmp_path: Path) -> Settings:
    elsewhere = settings.model_copy(update={"workspace": str(tmp_path / "undisturbed")})
    run_stages(elsewhere)
    return elsewhere


def records(settings: Settings, stage: str) -> dict[Path, int]:
    """The records of finished shards, and when they were written."""
    paths = (Path(settings.workspace) / stage).glob("*/shards/*.json")
    return {path: path.stat().st_mtime_ns for path in paths}


def in_the_middle_of_extract(settings: Settings) -> bool:
    return len(records(settings, "extract")) >= 3


def in_the_middle_of_train(settings: Settings) -> bool:
    return any((Path(settings.workspace) / "train").glob("*/files/state.safetensors"))


def kill_when(
    middle: Callable[[Settings], bool], settings: Settings, worker: psutil.Process, *, itself: bool
) -> None:
    """SIGKILL for the children of the worker, and before them for the worker itself if that is wanted."""
    wait_until(lambda: middle(settings), 300, "the middle of the stage", interval=0.005)
    children = worker.children(recursive=True)
    assert children
    kill([worker, *children] if itself else children)


def retry(deployed: Deployed, run: UUID) -> None:
    deployed.prefect("flow-run", "retry", str(run))
    ended = deployed.wait(run, "Completed", "Failed", "Crashed")
    assert ended.state_name == "Completed", ended.state
    assert ended.run_count == 2


def test_a_killed_flow_run_is_crashed_and_a_retry_finishes_it(
    deployed: Deployed, settings: Settings, undisturbed: Settings
) -> None:
    with work(deployed.environment, deployed.home / "worker.log") as worker:
        run = deployed.submit("pipeline/sample", settings)
        kill_when(in_the_middle_of_extract, settings, worker, itself=False)
        finished = {stage: records(settings, stage) for stage in ("index", "extract")}
        assert 3 <= len(finished["extract"]) < IMAGES
        crashed = deployed.wait(run, "Crashed", "Completed", "Failed")
        assert crashed.state_name == "Crashed"
        assert "-9" in crashed.state.message  # SIGKILL
        time.sleep(20)  # at once, the retried run was seen to be Crashed again, perhaps by a late report
        retry(deployed, run)
    for stage, before in finished.items():
        assert before.items() <= records(settings, stage).items()
    assert digests(settings) == digests(undisturbed)


def test_a_killed_worker_is_noticed_and_another_worker_finishes_the_run(
    deployed: Deployed, settings: Settings, undisturbed: Settings
) -> None:
    with work(deployed.environment, deployed.home / "worker.log") as worker:
        run = deployed.submit("pipeline/sample", settings)
        kill_when(in_the_middle_of_train, settings, worker, itself=True)
    finished = {stage: records(settings, stage) for stage in ("index", "extract")}
    assert len(finished["extract"]) == IMAGES
    assert not any(Path(settings.workspace).glob("train/*/files/dcn.safetensors"))
    assert deployed.read(run).state_name == "Running"  # nobody is left to say otherwise
    crashed = deployed.wait(run, "Crashed", "Completed", "Failed", seconds=300)
    assert crashed.state_name == "Crashed"
    assert "No sign of life for 90 seconds" in crashed.state.message
    with work(deployed.environment, deployed.home / "worker.log"):
        retry(deployed, run)
    for stage, before in finished.items():
        assert records(settings, stage) == before
    assert digests(settings) == digests(undisturbed)
