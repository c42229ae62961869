"""SIGKILL of a flow run's process, with or without its worker: no work is lost or repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from flows.settings import Settings
from tests.deployments.deployed import Deployed
from tests.flows.helpers import changed, digests, records, run_stages
from tests.servers import kill, wait_until, work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
IMAGES = 14


@pytest.fixture(scope="session")
def undisturbed(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One image per shard, and enough iterations to be killed in between; run to its end."""
    train = {**tiny_config["train"], "iterations": 150, "save_seconds": 0, "check_every": 50}
    workspace = tmp_path_factory.mktemp("undisturbed") / "workspace"
    settings = Settings.model_validate(
        {**tiny_config, "shard_images": 1, "train": train, "workspace": str(workspace)}
    )
    run_stages(settings)
    return settings


@pytest.fixture
def settings(undisturbed: Settings, tmp_path: Path) -> Settings:
    """The same settings with an empty workspace."""
    return changed(undisturbed, workspace=str(tmp_path / "workspace"))


def in_the_middle_of_extract(settings: Settings) -> bool:
    return len(records(settings.workspace, "extract")) >= 3


def in_the_middle_of_train(settings: Settings) -> bool:
    return any((Path(settings.workspace) / "train").glob("*/files/state.safetensors"))


def kill_when(
    middle: Callable[[Settings], bool], settings: Settings, worker: psutil.Process, *, itself: bool
) -> None:
    """Wait for a condition, then kill the children of the worker, and before them the worker if ``itself``."""
    wait_until(lambda: middle(settings), 300, "the middle of the stage", interval=0.005)
    children = worker.children(recursive=True)
    assert children
    kill([worker, *children] if itself else children)


def wait_for_crash(deployed: Deployed, run: UUID) -> str:
    """Wait until the flow run is Crashed; returns the reason."""
    crashed = deployed.wait(run, "Crashed", "Completed", "Failed", seconds=300)
    assert crashed.state_name == "Crashed"
    assert crashed.state is not None
    return str(crashed.state.message)


def retry(deployed: Deployed, run: UUID) -> None:
    deployed.prefect("flow-run", "retry", str(run))
    ended = deployed.wait(run, "Completed", "Failed", "Crashed")
    assert ended.state_name == "Completed", ended.state
    assert ended.run_count == 2


# The worker behaves the same with either database.
@pytest.mark.parametrize("deployed", ["postgresql"], indirect=True, scope="session")
def test_a_killed_flow_run_is_reported_as_crashed_and_can_be_retried(
    deployed: Deployed, settings: Settings, undisturbed: Settings
) -> None:
    with work(deployed.environment, deployed.home / "worker.log") as worker:
        run = deployed.submit("pipeline/demo", settings)
        kill_when(in_the_middle_of_extract, settings, worker, itself=False)
        finished = {stage: records(settings.workspace, stage) for stage in ("index", "extract")}
        assert 3 <= len(finished["extract"]) < IMAGES
        assert "-9" in wait_for_crash(deployed, run)  # SIGKILL
        # Prefect's worker reports a process that died twice. In between it loads the flow in another process, for
        # hooks that ours do not have; that takes seconds. The server refuses the second report of a run that is
        # Crashed, but if the run was retried meanwhile, the report ends it. Then the worker sends this event.
        wait_until(
            lambda: deployed.happened("prefect.worker.executed-flow-run", run), 300, "the second report"
        )
        retry(deployed, run)
    for stage, before in finished.items():
        assert before.items() <= records(settings.workspace, stage).items()
    assert digests(settings) == digests(undisturbed)


@pytest.mark.soak
def test_a_killed_worker_is_detected_and_another_finishes_its_run(
    deployed: Deployed, settings: Settings, undisturbed: Settings
) -> None:
    with work(deployed.environment, deployed.home / "worker.log") as worker:
        run = deployed.submit("pipeline/demo", settings)
        kill_when(in_the_middle_of_train, settings, worker, itself=True)
    finished = {stage: records(settings.workspace, stage) for stage in ("index", "extract")}
    assert len(finished["extract"]) == IMAGES
    assert not any(Path(settings.workspace).glob("train/*/files/dcn.safetensors"))
    assert deployed.read(run).state_name == "Running"  # no process is left that could report the end
    assert "No heartbeat for 90 seconds" in wait_for_crash(deployed, run)
    with work(deployed.environment, deployed.home / "worker.log"):
        retry(deployed, run)
    for stage, before in finished.items():
        assert records(settings.workspace, stage) == before
    assert digests(settings) == digests(undisturbed)
