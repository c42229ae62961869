"""Every setting of Prefect that this project changes, and the reason for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Options of flows and tasks. Their results are on storage, so Prefect keeps none of them. What Prefect must
# serialize is JSON, never a pickle.
NOT_KEPT: dict[str, Any] = {"persist_result": False, "result_serializer": "json"}

# Environment of the command line. A variable that the user has set keeps its value.
_COMMAND_LINE = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The default of 20 seconds is tight on a busy machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The temporary server writes every change of a task in a transaction of its own, and SQLite refuses a
    # second writer; Prefect then tries again after two seconds. So the server writes changes together, every
    # five seconds and at the end.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "1000",
    # Nobody can watch the events of a temporary server. Their last write meets that of the tasks: on a busy
    # machine a run ended without some of them. So the server keeps none.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    # The command line shows progress and errors itself.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
}


def set_command_line_defaults() -> None:
    """Set the environment of the command line. Call this before Prefect is imported."""
    for name, value in _COMMAND_LINE.items():
        os.environ.setdefault(name, value)


def uses_temporary_server() -> bool:
    """Whether Prefect starts a server for this process, because the user has none."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() is None


@contextmanager
def quiet_temporary_server() -> Iterator[None]:
    """Run flows without heartbeats if the server is a temporary one.

    A heartbeat tells a lasting server that a flow run has died. A temporary server ends with the flow, and a
    flow waits up to a second for the end of its heartbeat.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if uses_temporary_server() else {}):
        yield
