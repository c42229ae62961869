"""Run the flows and the tasks of the DAG in this process, without a Prefect server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from flows.execution.retries import Work, run_with_retries
from flows.execution.runners import keep_cluster
from flows.orchestration.dag import RUNS, run_stage_flow
from flows.orchestration.orchestrator import Orchestrator, StageRecord
from flows.settings import Settings


def call_flow(name: str, settings: Settings) -> list[Any]:
    """Call the flow of a stage, or ``pipeline``, ``compare``, ``sweep`` or ``ladder``.

    Args:
        name: name of the flow.
        settings: of the run.

    Returns:
        The records that the flow returns with Prefect.

    """
    orchestrator = InProcess()
    with keep_cluster():
        if name in RUNS:
            return RUNS[name](orchestrator, settings)
        return run_stage_flow(orchestrator, name, settings)


class InProcess(Orchestrator):
    """Calls flows and tasks directly, with the retries and time limits that they have with Prefect."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def run_stage(self, stage: str, settings: Settings, listing: str) -> list[StageRecord]:
        return run_stage_flow(self, stage, settings, listing)

    def run_task(self, name: str, work: Work, limit: float | None = None) -> dict[str, Any]:
        return run_with_retries(name, work, limit, self._stopped)

    def run_tasks(
        self,
        name: str,
        works: Mapping[str, Work],
        threads: int,
        limit: float | None,
        finished: Callable[[str], None],
        stop: Callable[[], None],
    ) -> None:
        with ThreadPoolExecutor(threads) as pool:
            futures = {pool.submit(self.run_task, task, work, limit): task for task, work in works.items()}
            try:
                for future in as_completed(futures):
                    future.result()
                    finished(futures[future])
            except BaseException:
                self._stopped.set()
                stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
