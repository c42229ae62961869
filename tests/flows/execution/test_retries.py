"""What is tried again, and what is not; time-outs."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import State, TaskRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from dcn.errors import InvalidDatasetError
from flows.execution.plan import find_job
from flows.execution.retries import is_transient
from flows.pipeline import FLOWS, sections
from flows.settings import Settings
from storage import CheckpointDamagedError, FileSystemError, NoSpaceError, StorageError
from tests.deployments.deployed import final_state
from tests.flows.helpers import MakeSettings, changed, run_stages
from tests.servers import wait_until


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        FileNotFoundError(errno.ENOENT, "not there yet on this machine"),
        TimeoutError("a task took too long"),
        FileSystemError("array x cannot be written", errno.EIO),
    ],
)
def test_a_failure_of_the_file_system_is_tried_again(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        FileSystemError("array x cannot be written", errno.ENOSPC),
        NoSpaceError("make room"),
        CheckpointDamagedError("digest"),
        StorageError("newer version"),
        InvalidDatasetError("there is no folder"),
        ValueError("a bug"),
        None,
    ],
)
def test_a_mistake_is_not_tried_again(error: object) -> None:
    assert not is_transient(error)


@pytest.fixture
def client(prefect_server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    address = prefect_server["PREFECT_API_URL"]
    with temporary_settings({PREFECT_API_URL: address}), SyncPrefectClient(address) as client:
        yield client


def task_runs(client: SyncPrefectClient, state: State[Any], stage: str, number: int) -> list[TaskRun]:
    """Tasks of a stage in the flow run of a state and its subflow, once the server has so many final states."""
    flow_run = state.state_details.flow_run_id
    assert flow_run is not None
    name = re.compile(rf"{stage} (\d+-\d+|rest)")
    parents = FlowRunFilterParentFlowRunId(any_=[flow_run])
    children = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=parents))
    flow_runs = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run, *(child.id for child in children)]))
    deadline = time.monotonic() + 30  # the states reach the server as events
    while True:
        found = client.read_task_runs(flow_run_filter=flow_runs)
        ended = [run for run in found if name.fullmatch(run.name) and run.state and run.state.is_final()]
        if len(ended) == number:
            return ended
        assert time.monotonic() < deadline, [run.name for run in found]
        time.sleep(0.5)


@pytest.mark.slow
def test_shards_go_on_when_the_file_system_is_there_again(
    client: SyncPrefectClient, tiny_settings: MakeSettings, finished: Settings
) -> None:
    """A file lies where the folder of the records should be, until the first record has met it."""
    settings = tiny_settings()
    FLOWS["index"](**sections(settings))
    folder = Path(find_job(settings).checkpoint("extract").location)
    obstacle = folder / "shards"
    folder.mkdir(parents=True)
    obstacle.touch()

    def clear() -> None:
        wait_until((folder / "arrays" / "tokens" / "c").exists, 120, "the rows of the first shard")
        time.sleep(0.5)
        obstacle.unlink()

    clearing = threading.Thread(target=clear)
    clearing.start()
    state = final_state(FLOWS["extract"], settings)
    clearing.join()
    assert state.is_completed(), state
    runs = task_runs(client, state, "extract", 5)  # four ranges, and the rest
    assert max(run.run_count for run in runs) > 1
    assert (
        find_job(settings).checkpoint("extract").digests()
        == find_job(finished).checkpoint("extract").digests()
    )


@pytest.mark.slow
def test_a_damaged_checkpoint_fails_at_once(client: SyncPrefectClient, copy: Settings) -> None:
    settings = changed(copy, train={"seed": 1})
    tokens = Path(find_job(settings).checkpoint("extract").location) / "arrays" / "tokens" / "c"
    next(path for path in tokens.rglob("*") if path.is_file()).unlink()
    state = final_state(FLOWS["train"], settings)
    assert state.is_failed()
    with pytest.raises(CheckpointDamagedError):
        state.result()
    (run,) = task_runs(client, state, "train", 1)
    assert run.run_count == 1


@pytest.mark.slow
def test_a_training_that_takes_too_long_goes_on_where_it_was(
    client: SyncPrefectClient, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    undisturbed = tiny_settings(train={"iterations": 150, "save_seconds": 0, "check_every": 50})
    seconds = run_stages(undisturbed, "train")["train"].manifest.seconds
    settings = changed(
        undisturbed, workspace=str(tmp_path / "too-long"), runner={"task_timeout": max(0.5, seconds / 2)}
    )
    run_stages(settings, "extract")
    state = final_state(FLOWS["train"], settings)
    assert state.is_completed(), state
    (run,) = task_runs(client, state, "train", 1)
    assert run.run_count > 1
    files = [Path(find_job(s).checkpoint("train").location, "files") for s in (settings, undisturbed)]
    for name in ("dcn.safetensors", "curve.json"):
        assert (files[0] / name).read_bytes() == (files[1] / name).read_bytes()
