"""Where tasks run: threads of this process, a local Dask cluster, or a Dask scheduler that runs already."""

from __future__ import annotations

import os
from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.settings import RunnerSettings


def task_runner(settings: RunnerSettings) -> TaskRunner[Any]:
    """Prefect's task runner of the settings."""
    if settings.kind == "threads":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.address:
        return DaskTaskRunner(address=settings.address)
    # A worker is a process with one task at a time and its share of the cores.
    threads = max(1, (os.cpu_count() or 1) // settings.workers)
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": settings.workers,
            "threads_per_worker": 1,
            "host": "127.0.0.1",
            "dashboard_address": None,
            "env": {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        }
    )
