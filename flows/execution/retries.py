"""Retries of tasks: failures of a file system are worth another attempt, mistakes are not.

A task may run any number of times, because finished shards are on storage. A network file system that fails
for a moment works again after seconds. So the delays grow, and chance spreads them, so that the workers of a
pool do not come back all at once. Every other error ends the task at once: the second attempt would fail the
same way.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from dcn.images.os_errors import LASTING_OF_WORK
from flows import progress
from flows.errors import StoppedError, describe_error
from flows.execution.time_limit import run_within

Work = Callable[[], dict[str, Any]]
# Seconds before each retry. Chance makes each up to so much of itself longer.
RETRY_DELAYS = (2.0, 4.0, 8.0, 16.0, 32.0)
RETRY_JITTER = 0.5


def is_transient(error: object) -> bool:
    """Whether another attempt may succeed. Time-outs count: ``TimeoutError`` is an ``OSError``."""
    return isinstance(error, OSError) and error.errno not in LASTING_OF_WORK


def run_with_retries(name: str, work: Work, limit: float | None, stopped: threading.Event) -> dict[str, Any]:
    """Run a task in this thread, and again after a transient error. Warn of each retry.

    Args:
        name: name of the task, for people.
        work: is safe to repeat.
        limit: number of seconds that one attempt may take; None is no limit.
        stopped: ends the wait for the next attempt.

    Raises:
        StoppedError: ``stopped`` was set before the next attempt.

    """
    for delay in RETRY_DELAYS:
        try:
            return run_within(limit, work)
        except Exception as error:
            if not is_transient(error):
                raise
            seconds = delay * random.uniform(1, 1 + RETRY_JITTER)  # noqa: S311 - not a secret
            progress.warn(f"{name} failed and is tried again in {seconds:.0f} s: {describe_error(error)}")
        if stopped.wait(seconds):
            raise StoppedError(f"{name} was not tried again, because others failed")
    return run_within(limit, work)
