"""Retries of tasks: failures of a file system are worth another attempt, mistakes are not.

A task may run any number of times, because finished shards are on storage. A network file system that fails
for a moment works again after seconds. So the delays grow, and chance spreads them, so that the workers of a
pool do not come back all at once. Every other error ends the task at once: the second attempt would fail the
same way.

Flows have no retries, because Prefect retries a flow whatever its error is.
"""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from dcn.images.os_errors import LASTING_OF_WORK


def is_transient(error: object) -> bool:
    """Whether another attempt may succeed. Time-outs count: ``TimeoutError`` is an ``OSError``."""
    return isinstance(error, OSError) and error.errno not in LASTING_OF_WORK


def _may_retry(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    return is_transient(state.data)


# Options of every task that computes: five retries, after 2, 4, 8, 16 and 32 seconds, each up to 50 % longer.
RETRIES: dict[str, Any] = {
    "retries": 5,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _may_retry,
}
