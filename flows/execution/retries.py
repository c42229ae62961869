"""Which failures of a task are worth another attempt: those of a file system, never a mistake.

A task may be attempted any number of times, for what it finished is on storage. A network file system that
fails for a moment is there again after seconds; so the delays grow, and are spread by chance, lest the
workers of a pool come back at once. Everything else fails at once: an error whose message says what to do
says the same the second time.

A flow has no retries of its own: Prefect's do not look at the error.
"""

from __future__ import annotations

import errno
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

# Of the operating system, and yet a person has to act: another attempt fails the same way.
_LASTING = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG}
)


def is_transient(error: object) -> bool:
    """Whether it may be gone a minute later. A time-out is: ``TimeoutError`` is an ``OSError``."""
    return isinstance(error, OSError) and error.errno not in _LASTING


def _may_retry(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    return is_transient(state.data)


# Of every task that computes: five more attempts, after 2, 4, 8, 16, 32 seconds, half as much more or less.
RETRIES: dict[str, Any] = {
    "retries": 5,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _may_retry,
}
