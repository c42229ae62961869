"""Runners compute shards: in threads of this process, or in the workers of a Dask cluster.

A task stays in the process of the flow; with Dask it waits there for its shards. So a worker needs
this package, the data set and the workspace. It needs neither Prefect's server nor a key for it.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from flows.errors import ClusterError, StoppedError
from flows.execution.process import prepare_process
from flows.execution.same_package import VERSION_OF_PROCESS, require_same_version, version_here
from flows.settings import RunnerSettings, Settings
from flows.stage import Job, Warn

if TYPE_CHECKING:
    from distributed import Client, Future

    from flows.execution.waiting import Patience


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


class _Kept:
    """A cluster that serves several stages, once the first of them has started it."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.client: Client | None = None


_kept: ContextVar[_Kept | None] = ContextVar("_kept", default=None)


@contextmanager
def keep_cluster() -> Iterator[None]:
    """Inside of this context all stages with ``runner.keep`` share one cluster, which ends with the context.

    Contexts may be nested: the outermost one counts, as that of the pipeline around those of its stages.
    """
    if _kept.get() is not None:
        yield
        return
    with ExitStack() as stack:
        token = _kept.set(_Kept(stack))
        try:
            yield
        finally:
            _kept.reset(token)


@contextmanager
def open_runner(settings: Settings, warn: Warn, patience: Patience | None = None) -> Iterator[Runner]:
    """Open the runner that the settings choose; see :func:`flows.execution.clusters.open_client`.

    Args:
        settings: the section ``runner`` and, for the logs of jobs, the workspace.
        warn: receives warnings, and what the flow waits for.
        patience: how long to wait for workers before the flow says so; None takes the defaults.

    """
    runner = settings.runner
    if runner.kind == "threads":
        yield _ThreadRunner(runner.workers)
        return
    from flows.execution.clusters import open_client
    from flows.execution.waiting import Patience, WorkerWatch, worker_source

    patience = patience or Patience()
    with ExitStack() as stack:
        kept = _kept.get() if runner.keep else None
        if kept is not None and kept.client is not None:
            client = kept.client
        else:
            opened = open_client(runner, warn, settings.workspace)
            client = (stack if kept is None else kept.stack).enter_context(opened)
        if kept is not None:
            kept.client = client
        dask_runner = _DaskRunner(client, runner)
        source = worker_source(client, runner, warn, patience)
        with WorkerWatch(client, source, dask_runner.is_busy, dask_runner.give_up, warn, patience):
            yield dask_runner


def _compute(job: dict[str, Any], stage: str, shards: list[int], version: str) -> dict[str, Any]:
    """Compute shards in a worker of Dask. The first call imports PyTorch.

    The scheduler imports this module too, to pass the function on, and needs no PyTorch for that.
    """
    if version != version_here():
        from distributed import get_worker

        raise ClusterError(
            f"the worker {get_worker().address} has version {version_here()} of this package, and the flow "
            f"has {version}: install the same version everywhere"
        )
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
        # Whether the workers have this package, as the first of them says. Those of the local cluster do.
        remote = settings.address is not None or settings.cluster is not None
        self._version = client.submit(eval, VERSION_OF_PROCESS, pure=False) if remote else None
        self._futures: list[Future[Any]] = [self._version] if self._version else []
        self._no_workers: ClusterError | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def compute(self, job: dict[str, Any], stage: str, shards: list[int]) -> dict[str, Any]:
        from distributed.client import ClosedClientError, FutureCancelledError
        from distributed.scheduler import KilledWorker

        shown = f"shards {shards[0]} to {shards[-1]} of {stage}"
        try:
            if self._version is not None:
                require_same_version(self._version.result(), f"a worker of {self._where}")
            with self._lock:
                if self._stopped:
                    raise self._no_workers or StoppedError(f"{shown} were not begun, because others failed")
                future = self._client.submit(_compute, job, stage, shards, version_here(), pure=False)
                self._futures.append(future)
            return future.result()
        except ImportError as error:
            require_same_version(error, f"a worker of {self._where}")
            raise
        except KilledWorker as error:
            attempts = error.allowed_failures + 1
            raise ClusterError(
                f"the worker that computed {shown} died in attempt {attempts} of {attempts}, the last one at "
                f"{error.last_worker.address}: most often because memory ran out, or because its job reached "
                f"its walltime or was cancelled. What is finished stays; the same command computes the rest"
            ) from error
        except (FutureCancelledError, ClosedClientError) as error:
            if self._no_workers is not None:
                raise self._no_workers from None
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

    def is_busy(self) -> bool:
        """Whether work waits for a worker or is in one."""
        return not all(future.done() for future in list(self._futures))

    def give_up(self, error: ClusterError) -> None:
        """End all work with an error, because there are no workers."""
        self._no_workers = error
        self.stop()
