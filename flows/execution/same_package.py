"""The processes of a cluster must have this package, in the same version as the flow."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from flows.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

_PACKAGE = "dynamic-clustering-network"
# Evaluated in a process that may not have this package. A process that cannot import a function that it
# receives breaks the connection, and the flow would wait for ever; every process has `eval`.
_VERSION = f"__import__('importlib.metadata').metadata.version('{_PACKAGE}')"
VERSION_OF_PROCESS = f"[__import__('flows.execution.runners'), {_VERSION}][-1]"
# A worker also imports what computes. Its process is prepared before.
_VERSION_OF_WORKER = (
    "[__import__('flows.execution.process').execution.process.prepare_process(), "
    f"__import__('flows.execution.run'), {_VERSION}][-1]"
)


def version_here() -> str:
    """The version of this package in this process."""
    return version(_PACKAGE)


def require_same_version(found: Any, process: str) -> None:
    """Compare the version of a process with that of this one.

    Args:
        found: the version, or the error with which the process answered.
        process: name and place of the process, for the message.

    Raises:
        ClusterError: the process lacks this package, or has another version.

    """
    if isinstance(found, ImportError):
        raise ClusterError(
            f"{process} cannot import this package ({found}): install version {version_here()} there, as here"
        ) from found
    if isinstance(found, BaseException):
        raise found
    if found != version_here():
        raise ClusterError(
            f"{process} has version {found} of this package, and the flow has {version_here()}: install the "
            f"same version everywhere"
        )


def require_same_package(client: Client, address: str) -> None:
    """Check the scheduler at an address and all its workers. A worker that is lost meanwhile is left out.

    Raises:
        ClusterError: one of them lacks this package, or has another version.

    """
    place = f"runner.address {address}"
    try:
        found = client.run_on_scheduler(eval, VERSION_OF_PROCESS)
    except ImportError as error:
        found = error
    require_same_version(found, f"the scheduler at {place}")
    for worker, found in client.run(eval, _VERSION_OF_WORKER, on_error="return").items():
        if not isinstance(found, OSError):  # lost; the worker that takes its place is checked
            require_same_version(found, f"the worker {worker} of {place}")
