"""The meaning of tensorstore's errors, which are ValueErrors with a text. Only this file reads the texts."""

from __future__ import annotations

import re

from storage.errors import FileSystemError

# Beginning of a message that says nothing of the stored bytes: too many open files, no permission, no
# network.
_NOT_THE_BYTES = (
    "RESOURCE_EXHAUSTED",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "CANCELLED",
)
# Number of the operating system's error in a message.
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")


def first_line(error: BaseException) -> str:
    """Cut a message before the place in tensorstore's own source."""
    return str(error).partition(" [")[0].partition("\n")[0]


def system_failure(what: str, error: Exception) -> FileSystemError | None:
    """Translate a failure of the operating system or of the network; None for other errors.

    Args:
        what: what could not be done, for the message.
        error: an error of tensorstore, or an OSError.

    """
    reason, number = first_line(error), _OS_ERROR.search(str(error))
    if number is not None:
        return FileSystemError(f"{what}: {reason}", int(number[1]))
    if isinstance(error, OSError):
        return FileSystemError(f"{what}: {error.filename}: {error.strerror}", error.errno)
    if reason.startswith(_NOT_THE_BYTES):
        return FileSystemError(f"{what}: {reason}")
    return None


def damage_reason(error: Exception) -> str:
    """Say what is wrong with the stored bytes.

    Raises:
        FileSystemError: the bytes may be right, but cannot be read just now.

    """
    failure = system_failure("an array cannot be read", error)
    if failure is not None:
        raise failure from error
    return first_line(error)
