"""What goes on beside the computing: a shard is written, photographs are prepared."""

import itertools
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from flows.errors import StoppedError
from flows.execution.plan import STAGES, find_job, states
from flows.execution.run import compute_shards, run_stage
from flows.execution.runners import open_runner
from flows.inputs import parallel
from flows.inputs.parallel import in_threads
from flows.settings import Settings
from flows.stage import Job
from storage import Checkpoint, Manifest, StorageError

MakeSettings = Callable[..., Settings]


@pytest.fixture
def begun(tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, list[int]]:
    """``extract`` without a shard, and its shards."""
    settings = tiny_settings(shard_images=3)
    run_stage(find_job(settings, "index"), "index", compute_shards, lambda _: None)
    job = find_job(settings, "extract")
    missing: list[int] = []

    def stop(job: Job, stage: str, shards: list[int]) -> None:
        missing.extend(shards)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_stage(job, "extract", stop, lambda _: None)
    assert len(missing) > 2
    return job, missing


def test_a_shard_is_written_while_the_next_is_computed(
    begun: tuple[Job, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, shards = begun
    second = threading.Event()
    computed, written = itertools.count(), itertools.count()
    compute, write = STAGES["extract"].compute_shard, Checkpoint.write_shard

    def computing(job: Job, manifest: Manifest, shard: int) -> Any:
        if next(computed) == 1:
            second.set()
        return compute(job, manifest, shard)

    def writing(checkpoint: Checkpoint, *arguments: Any) -> Any:
        if next(written) == 0:
            assert second.wait(60), "the second shard was not begun while the first one was written"
        return write(checkpoint, *arguments)

    monkeypatch.setattr(STAGES["extract"], "compute_shard", computing)
    monkeypatch.setattr(Checkpoint, "write_shard", writing)
    compute_shards(job, "extract", shards)
    checkpoint = job.checkpoint("extract")
    assert checkpoint.missing_shards(checkpoint.require_begun()) == []


@pytest.mark.parametrize("failing", [0, -1], ids=["the first", "the last"])
def test_an_error_of_the_writing_ends_the_stage(
    begun: tuple[Job, list[int]], monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    job, shards = begun
    write, number = Checkpoint.write_shard, itertools.count()

    def writing(checkpoint: Checkpoint, *arguments: Any) -> Any:
        if next(number) == failing % len(shards):
            raise StorageError("the disk is full")
        return write(checkpoint, *arguments)

    monkeypatch.setattr(Checkpoint, "write_shard", writing)
    with pytest.raises(StorageError, match="the disk is full"):
        compute_shards(job, "extract", shards)
    checkpoint = job.checkpoint("extract")
    expected = len(shards) if failing == 0 else 1
    assert len(checkpoint.missing_shards(checkpoint.require_begun())) == expected


def test_a_shard_that_was_computed_is_kept_when_the_next_one_fails(
    begun: tuple[Job, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, shards = begun
    compute, write, number = STAGES["extract"].compute_shard, Checkpoint.write_shard, itertools.count()

    def computing(job: Job, manifest: Manifest, shard: int) -> Any:
        if next(number) == 1:
            raise MemoryError
        return compute(job, manifest, shard)

    def writing(checkpoint: Checkpoint, *arguments: Any) -> Any:
        time.sleep(0.5)  # the error comes first
        return write(checkpoint, *arguments)

    monkeypatch.setattr(STAGES["extract"], "compute_shard", computing)
    monkeypatch.setattr(Checkpoint, "write_shard", writing)
    with pytest.raises(MemoryError):
        compute_shards(job, "extract", shards)
    checkpoint = job.checkpoint("extract")
    assert len(checkpoint.missing_shards(checkpoint.require_begun())) == len(shards) - 1


def test_after_a_stop_the_shard_that_was_begun_is_kept_and_none_is_begun(
    begun: tuple[Job, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-C: a range may be a quarter of a large data set."""
    job, shards = begun
    compute = STAGES["extract"].compute_shard
    with open_runner(Settings(), pytest.fail) as runner:

        def computing(job: Job, manifest: Manifest, shard: int) -> Any:
            runner.stop()
            return compute(job, manifest, shard)

        monkeypatch.setattr(STAGES["extract"], "compute_shard", computing)
        with pytest.raises(StoppedError, match=f"{len(shards) - 1} shards of extract were not begun"):
            runner.compute(job.to_json(), "extract", shards)
    checkpoint = job.checkpoint("extract")
    assert len(checkpoint.missing_shards(checkpoint.require_begun())) == len(shards) - 1


def test_a_write_that_fails_after_a_stop_is_an_error(
    begun: tuple[Job, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not hide behind an interruption."""
    job, shards = begun
    stops = itertools.count()

    def writing(checkpoint: Checkpoint, *arguments: Any) -> Any:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Checkpoint, "write_shard", writing)
    with pytest.raises(StorageError, match="the disk is full"):
        compute_shards(job, "extract", shards, stopped=lambda: next(stops) == 1)


def test_the_state_of_a_stage_counts_images_and_the_last_shard_is_shorter(
    begun: tuple[Job, list[int]],
) -> None:
    job, shards = begun
    compute_shards(job, "extract", shards[:-1])
    state = next(found for found in states(job.settings) if found.stage == "extract")
    assert (state.state, state.missing_images) == ("begun", 2)  # 14 photographs in shards of 3


class TestInThreads:
    """Results in order, ahead of who wants them, and not further ahead than memory allows."""

    @pytest.fixture(autouse=True)
    def several_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parallel, "THREADS", 3)
        monkeypatch.setattr(parallel, "_AHEAD", 10)

    def test_the_order_is_that_of_the_items(self) -> None:
        def late_at_first(item: int) -> int:
            time.sleep(0.05 * (item < 3))
            return -item

        assert list(in_threads(late_at_first, range(40))) == [-item for item in range(40)]

    def test_no_more_than_a_few_results_wait(self) -> None:
        begun: list[int] = []
        results = in_threads(begun.append, itertools.count())
        for taken in range(1, 30):
            next(results)
            time.sleep(0.002)
            assert len(begun) < taken + 10
        assert isinstance(results, Generator)
        results.close()
        assert len(begun) < 40

    def test_the_error_comes_in_the_place_of_its_item(self) -> None:
        results = in_threads(lambda item: 6 // (3 - item), range(10))
        assert [next(results) for _ in range(3)] == [2, 3, 6]
        with pytest.raises(ZeroDivisionError):
            next(results)

    def test_a_function_may_use_the_threads_that_it_runs_in(self) -> None:
        """More of them than there are threads, so that each would wait for another one."""

        def total(number: int) -> int:
            return sum(in_threads(lambda item: item * number, range(20)))

        assert list(in_threads(total, range(8))) == [190 * number for number in range(8)]

    def test_consumers_share_the_threads(self) -> None:
        def names(_: int) -> set[str]:
            return set(in_threads(lambda _: threading.current_thread().name, range(30)))

        with ThreadPoolExecutor(4) as pool:
            assert len(set().union(*pool.map(names, range(4)))) <= 3

    def test_each_thread_computes_alone(self) -> None:
        before = torch.get_num_threads()
        assert set(in_threads(lambda _: torch.get_num_threads(), range(20))) == {1}
        assert torch.get_num_threads() == before
