"""Read files that a data set or a person names, whatever the name leads to."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from dcn.images.os_errors import LASTING_OF_READING

# Every photograph and every mask is smaller. A film with the name x.jpg may be larger.
_MOST_BYTES = 1 << 30
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def is_lasting(error: OSError) -> bool:
    """Whether reading the file again would fail the same way, because it is gone or is no regular file."""
    return error.errno in LASTING_OF_READING


def read_file(path: Path) -> bytes:
    """Read a regular file. Follows links, and does not wait for pipes and devices.

    Raises:
        OSError: ``strerror`` says what the name leads to, and what to do.

    """
    try:
        # Without O_NONBLOCK this waits for ever for a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except ValueError:  # NUL, or a character that stands for no byte
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from None
    except OSError as error:
        raise OSError(error.errno, _why(path, error), str(path)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, _not_a_file(path, status.st_mode), str(path))
        if status.st_size > _MOST_BYTES:
            reason = f"it has {status.st_size / 1e9:.1f} GB, more than any photograph that can be decoded"
            raise OSError(errno.EFBIG, reason, str(path))
        return _content(descriptor, path)
    finally:
        os.close(descriptor)


def _content(descriptor: int, path: Path) -> bytes:
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _why(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT and path.is_symlink():
        return "it is a link to a file that does not exist"
    if error.errno == errno.EACCES:
        return "Permission denied; give the user that runs this the right to read it"
    if error.errno == errno.ENXIO:
        return _not_a_file(path, stat.S_IFSOCK)
    return error.strerror or str(error)


def _not_a_file(path: Path, mode: int) -> str:
    kind = _KINDS.get(stat.S_IFMT(mode), "a device")
    if stat.S_ISDIR(mode) and path.is_symlink():
        return (
            "it is a link to a folder; such links are not followed, so give that folder as the root of the "
            "data set"
        )
    return f"it is {kind}, not a file"
