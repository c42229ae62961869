"""Runners compute shards: in threads of this process, or in the workers of a Dask cluster.

A Prefect task stays in the process of the flow; with Dask it waits there for its shards. So a worker needs
this package, the data set and the workspace. It needs neither Prefect's server nor a key for it.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flows.errors import ClusterError, StoppedError
from flows.execution.process import prepare_process
from flows.settings import RunnerSettings
from flows.stage import Job, Warn

if TYPE_CHECKING:
    from distributed import Client, Future


class Runner(ABC):
    """Computes ranges of shards, several at once.

    Attributes:
        workers: number of ranges that are computed at once.
        waiting: number of threads that may call :meth:`compute` at once.

    """

    workers: int
    waiting: int

    @abstractmethod
    def compute(self, job: dict[str, Any], stage: str, shards: list[int]) -> dict[str, Any]:
        """Compute and record shards; see :func:`flows.execution.run.compute_shards`."""

    @abstractmethod
    def stop(self) -> None:
        """Begin no more shards. Returns at once."""


@contextmanager
def open_runner(settings: RunnerSettings, warn: Warn) -> Iterator[Runner]:
    """Open the runner that the settings choose; see :func:`flows.execution.clusters.open_client`."""
    if settings.kind == "threads":
        yield _ThreadRunner(settings.workers)
        return
    from flows.execution.clusters import open_client

    with open_client(settings, warn) as client:
        yield _DaskRunner(client, settings)


def _compute(job: dict[str, Any], stage: str, shards: list[int]) -> dict[str, Any]:
    """Compute shards in a worker of Dask. The first call imports PyTorch.

    The scheduler imports this module too, to pass the function on, and needs no PyTorch for that.
    """
    prepare_process()
    from flows.execution.run import compute_shards

    return compute_shards(Job.from_json(job), stage, shards, _nobody_waits())


def _nobody_waits() -> Callable[[], bool]:
    """What says whether the task of this thread is still wanted. Dask interrupts none.

    A task is not wanted any more if the flow failed or was interrupted, or if its process has ended.
    """
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    return lambda: task.state == "cancelled"


class _ThreadRunner(Runner):
    def __init__(self, workers: int) -> None:
        self.workers = self.waiting = workers
        self._stopped = threading.Event()

    def compute(self, job: dict[str, Any], stage: str, shards: list[int]) -> dict[str, Any]:
        from flows.execution.run import compute_shards

        return compute_shards(Job.from_json(job), stage, shards, self._stopped.is_set)

    def stop(self) -> None:
        """Begin no more shards; those in progress are finished."""
        self._stopped.set()


class _DaskRunner(Runner):
    # Each waiting task holds a thread here, and an adaptive cluster may grow.
    waiting = 1000

    def __init__(self, client: Client, settings: RunnerSettings) -> None:
        self._client = client
        present = sum(
            worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()
        )
        most = settings.adaptive.maximum if settings.adaptive else settings.workers
        self.workers = max(present, most)
        self._where = settings.address or settings.cluster or "the local cluster"
        self._futures: list[Future[Any]] = []
        self._stopped = False
        self._lock = threading.Lock()

    def compute(self, job: dict[str, Any], stage: str, shards: list[int]) -> dict[str, Any]:
        from distributed.client import ClosedClientError, FutureCancelledError
        from distributed.scheduler import KilledWorker

        shown = f"shards {shards[0]} to {shards[-1]} of {stage}"
        try:
            with self._lock:
                if self._stopped:
                    raise StoppedError(f"{shown} were not begun, because others failed")
                future = self._client.submit(_compute, job, stage, shards, pure=False)
                self._futures.append(future)
            return future.result()
        except KilledWorker as error:
            attempts = error.allowed_failures + 1
            raise ClusterError(
                f"the worker that computed {shown} died in attempt {attempts} of {attempts}, the last one at "
                f"{error.last_worker.address}: most often because memory ran out. What is finished stays; "
                f"the same command computes the rest"
            ) from error
        except (FutureCancelledError, ClosedClientError) as error:
            if self._stopped:
                raise StoppedError(f"{shown} were stopped, because others failed") from error
            raise ClusterError(
                f"the scheduler of {self._where} was lost before {shown} were finished. What is finished "
                f"stays; when there is a scheduler again, the same command computes the rest"
            ) from error

    def stop(self) -> None:
        from distributed.client import ClosedClientError

        with self._lock:
            self._stopped = True
        with suppress(ClosedClientError):  # the scheduler was lost
            self._client.cancel(self._futures)
