"""Every setting of Prefect that this project changes, and the reason for each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flows.execution.retries import RETRY_DELAYS, RETRY_JITTER, is_transient

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

# Options of flows and tasks. Their results are on storage, so Prefect keeps none of them. What Prefect must
# serialize is JSON, never a pickle.
NOT_KEPT: dict[str, Any] = {"persist_result": False, "result_serializer": "json"}


def _may_retry(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    return is_transient(state.data)


# Options of every task that computes; flows.execution.retries has the reasons. Flows have no retries, because
# Prefect retries a flow whatever its error is.
RETRIES: dict[str, Any] = {
    "retries": len(RETRY_DELAYS),
    "retry_delay_seconds": list(RETRY_DELAYS),
    "retry_jitter_factor": RETRY_JITTER,
    "retry_condition_fn": _may_retry,
}

# Environment of the command line with a server. A variable that the user has set keeps its value.
_COMMAND_LINE = {
    "DO_NOT_TRACK": "1",
    # The command line shows progress and errors itself. Some lines of Prefect come from loggers that are not
    # below Prefect's own, such as "EventsWorker - Still processing items"; the root logger has those.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",
}


def set_command_line_defaults() -> None:
    """Set the environment of the command line. Call this before Prefect is imported."""
    for name, value in _COMMAND_LINE.items():
        os.environ.setdefault(name, value)
