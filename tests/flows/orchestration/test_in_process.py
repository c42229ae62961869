"""Flows and tasks without a Prefect server: results, retries, time limits and stops."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from flows import progress
from flows.errors import StoppedError
from flows.execution import retries
from flows.execution.plan import find_job
from flows.execution.time_limit import run_within
from flows.orchestration.in_process import InProcess, call_flow
from flows.settings import Settings
from storage import CheckpointDamagedError
from tests.flows.helpers import MakeSettings


class Watcher:
    """Keeps what a terminal would show."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warnings: list[str] = []
        self.done: dict[str, int] = {}
        self.ended: list[str] = []

    def start(self, stage: str, total: int, done: int) -> None:
        self.done[stage] = done

    def advance(self, stage: str, units: int, note: str) -> None:
        self.done[stage] += units

    def end_early(self, stage: str, note: str) -> None:
        """No stage of these tests does."""

    def end(self, stage: str) -> None:
        self.ended.append(stage)

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "RETRY_DELAYS", (0.001,) * 5)


def failing(times: int, error: Exception) -> tuple[Callable[[], dict[str, Any]], list[int]]:
    """Work that fails so often before it succeeds, and the list of its attempts."""
    attempts: list[int] = []

    def work() -> dict[str, Any]:
        attempts.append(1)
        if len(attempts) <= times:
            raise error
        return {"attempts": len(attempts)}

    return work, attempts


def test_a_flow_runs_the_stages_before_it_and_shows_progress(
    tiny_settings: MakeSettings, finished: Settings
) -> None:
    settings, watcher = tiny_settings(), Watcher()
    with progress.watched(watcher):
        first = call_flow("extract", settings)
        again = call_flow("extract", settings)
    assert [(record.stage, record.reused) for record in first] == [("index", False), ("extract", False)]
    assert [(record.stage, record.reused) for record in again] == [("extract", True)]
    assert watcher.done == {"index": 14, "extract": 14}
    assert watcher.ended == ["index", "extract"]
    assert any(said.startswith("extract is going to write") for said in watcher.said)
    ours, theirs = (find_job(s).checkpoint("extract") for s in (settings, finished))
    assert (ours.key, ours.digests()) == (theirs.key, theirs.digests())


def test_the_pipeline_finds_complete_stages(copy: Settings) -> None:
    records = call_flow("pipeline", copy)
    assert [record.stage for record in records] == list(find_job(copy).keys)
    assert all(record.reused for record in records)


def test_without_a_server_nothing_of_prefect_is_imported() -> None:
    """So none of its settings, profiles, folders and data bases can matter."""
    code = (
        "import sys, flows.orchestration.in_process, flows.cli.app;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'prefect', 'httpx', 'sqlalchemy'}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_transient_error_is_tried_again_and_said(number: int) -> None:
    work, attempts = failing(2, OSError(number, "the disk of the network"))
    watcher = Watcher()
    with progress.watched(watcher):
        assert InProcess().run_task("extract 0-3", work) == {"attempts": 3}
    assert len(attempts) == 3
    assert len(watcher.warnings) == 2
    assert watcher.warnings[0].startswith("extract 0-3 failed and is tried again in 0 s: ")
    assert "the disk of the network" in watcher.warnings[0]


@pytest.mark.usefixtures("quick_retries")
def test_the_sixth_failure_is_the_last() -> None:
    work, attempts = failing(99, OSError(errno.EIO, "gone for good"))
    with pytest.raises(OSError, match="gone for good"):
        InProcess().run_task("extract 0-3", work)
    assert len(attempts) == 6


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), CheckpointDamagedError("digest"), ValueError("a bug")]
)
def test_a_mistake_is_not_tried_again(error: Exception) -> None:
    work, attempts = failing(1, error)
    with pytest.raises(type(error)):
        InProcess().run_task("extract 0-3", work)
    assert len(attempts) == 1


def test_delays_are_those_of_prefect() -> None:
    """Prefect's own function of the documented schedule: 2 seconds, and twice as long each time."""
    from prefect.tasks import exponential_backoff

    assert list(retries.RETRY_DELAYS) == exponential_backoff(2)(5)


@pytest.mark.usefixtures("quick_retries")
def test_an_attempt_that_takes_too_long_is_tried_again() -> None:
    attempts: list[float] = []

    def work() -> dict[str, Any]:
        attempts.append(time.monotonic())
        while len(attempts) == 1:
            time.sleep(0.001)
        return {}

    watcher = Watcher()
    with progress.watched(watcher):
        InProcess().run_task("train rest", work, 0.1)
    assert len(attempts) == 2
    assert "it took longer than runner.task_timeout, 0.1 s" in watcher.warnings[0]


def test_a_time_limit_is_no_failure_that_the_work_handles() -> None:
    def work() -> None:
        while True:
            with suppress(Exception):  # as code that takes a file that it cannot read for a bad one
                time.sleep(0.001)

    with pytest.raises(TimeoutError):
        run_within(0.05, work)


def test_a_time_limit_ends_with_its_work() -> None:
    for seconds in (0.0005, 0.001, 0.002, 0.004):
        for _ in range(50):  # some end at the same moment as their limit
            try:
                run_within(seconds, partial(time.sleep, seconds))
            except TimeoutError:
                continue
    time.sleep(0.02)  # what arrives late would end the test


def test_so_many_tasks_run_at_once_and_each_is_reported() -> None:
    lock, together, most = threading.Lock(), [0], [0]
    finished: list[str] = []

    def work() -> dict[str, Any]:
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.02)
        with lock:
            together[0] -= 1
        return {}

    names = [f"embed {n}-{n}" for n in range(9)]
    InProcess().run_tasks(
        "embed shards", dict.fromkeys(names, work), 3, None, finished.append, lambda: pytest.fail("stopped")
    )
    assert most == [3]
    assert sorted(finished) == names


def test_a_failure_stops_the_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them is in the middle of its work, and one waits for its next attempt."""
    monkeypatch.setattr(retries, "RETRY_DELAYS", (300,))
    stopped, begun = threading.Event(), threading.Event()

    def fails_for_good() -> dict[str, Any]:
        assert begun.wait(60)
        raise CheckpointDamagedError("digest")

    def works() -> dict[str, Any]:
        begun.set()
        assert stopped.wait(60), "nobody stopped the work"
        raise StoppedError("as asked")

    def transient() -> dict[str, Any]:
        raise OSError(errno.EIO, "tried again in five minutes")

    works_of = {"a": fails_for_good, "b": works, "c": transient}
    began = time.monotonic()
    with pytest.raises(CheckpointDamagedError):
        InProcess().run_tasks("x", works_of, 3, None, lambda _: None, stopped.set)
    assert time.monotonic() - began < 100
