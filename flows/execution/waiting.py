"""Waiting for workers: the flow says what it waits for, and ends if no worker can be had."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from flows.errors import ClusterError
from flows.execution.job_queue import JobQueue
from flows.settings import RunnerSettings
from flows.stage import Warn

if TYPE_CHECKING:
    from distributed import Client

_LOGGER = logging.getLogger(__name__)
# Where to look for workers that a package starts, by the name of the package.
_LOOK = {
    "dask_kubernetes": "`kubectl get pods` lists its pods; `kubectl describe pod` says what one waits for",
    "dask_cloudprovider": "the console of your cloud shows its machines",
}


class WorkerSource(Protocol):
    """Where the workers come from."""

    def mend(self, connected: int) -> None:
        """Request new workers in place of those that ended; ``connected`` are there now.

        Raises:
            ClusterError: none can be had.

        """

    def describe(self) -> str:
        """Say what is known about workers that are not connected, and where to look."""


@dataclass(frozen=True)
class OthersWorkers:
    """Workers that come without our help: those of an address, or of a class that replaces them itself."""

    description: str

    def mend(self, connected: int) -> None:
        """Others do that."""

    def describe(self) -> str:
        return self.description


def worker_source(client: Client, settings: RunnerSettings, warn: Warn, patience: Patience) -> WorkerSource:
    """Find out where the workers of a client come from."""
    if settings.address is not None:
        return OthersWorkers(
            f"the scheduler at runner.address {settings.address} answers, but has none: start workers as "
            f"docs/guides/clusters.md shows, or read the logs of yours"
        )
    if settings.cluster is None:
        return OthersWorkers("the processes of the local cluster start; this machine may have too much to do")
    cluster: Any = client.cluster
    if hasattr(cluster, "job_cls"):
        return JobQueue(cluster, settings.cluster, warn, patience.pause)
    look = _LOOK.get(settings.cluster.partition(".")[0], "look where this class starts them")
    return OthersWorkers(f"runner.cluster {settings.cluster} has requested them; {look}")


@dataclass(frozen=True)
class Patience:
    """Times of :class:`WorkerWatch` in seconds.

    Attributes:
        first: after this time without a worker, the flow says what it waits for.
        again: time between two such messages, and between two looks at the jobs while workers are connected.
        step: time between two looks while no worker is connected.
        pause: time between the first and the second round of new jobs, see :class:`JobQueue`.

    """

    first: float = 50.0
    again: float = 240.0
    step: float = 5.0
    pause: float = 10.0


class WorkerWatch:
    """Watches, in a thread of its own, that the work of a runner has workers.

    Args:
        client: client of the scheduler.
        source: where the workers come from.
        busy: whether there is work to do.
        give_up: receives the error if no worker can be had. It must end the work.
        warn: receives the messages.
        patience: how long to wait.

    """

    def __init__(
        self,
        client: Client,
        source: WorkerSource,
        busy: Callable[[], bool],
        give_up: Callable[[ClusterError], None],
        warn: Warn,
        patience: Patience,
    ) -> None:
        self._client = client
        self._source = source
        self._busy = busy
        self._give_up = give_up
        self._warn = warn
        self._patience = patience
        self._ended = threading.Event()
        # Messages go to the logs of the flow run, which the context knows.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._watch,), name="workers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        began = said = looked = time.monotonic()
        while not self._ended.wait(self._patience.step):
            now = time.monotonic()
            try:
                workers = self._workers()
                works = workers is None or "running" in workers
                if works:
                    began = said = now
                if workers is None or (works and now - looked < self._patience.again):
                    continue
                looked = now
                self._source.mend(len(workers))
                wait = self._patience.first if said == began else self._patience.again
                if not works and now - said >= wait:
                    self._warn(self._describe(workers, now - began))
                    said = now
            except ClusterError as error:
                self._give_up(error)
                return
            except Exception:  # the scheduler was lost or ends, and who waits for its work learns it
                _LOGGER.debug("the workers could not be looked at", exc_info=True)

    def _workers(self) -> list[str] | None:
        """States of the connected workers, such as ``running``; None: there is no work for them."""
        if not self._busy():
            return None
        connected = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return [worker["status"] for worker in connected]

    def _describe(self, workers: list[str], seconds: float) -> str:
        if not workers:
            return f"no worker is connected for {seconds:.0f} s: {self._source.describe()}"
        return (
            f"no worker computes for {seconds:.0f} s: {len(workers)} connected, {', '.join(set(workers))}; a "
            f"worker pauses at 80 % of its memory, so give a worker more, or lower backbone.batch_size"
        )
