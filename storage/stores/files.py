"""Atomic writing of files: a reader finds the whole file or none."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_SUFFIX = ".partial"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a reader sees the old content or the new one, also after a kill at any instant.

    Raises:
        OSError: the operating system refuses. No partial file is left behind.

    """
    with partial_file(path, content) as partial:
        try:
            partial.replace(path)
        except FileExistsError:
            # Some network file systems cannot replace a file. A kill between these two lines leaves no file.
            path.unlink()
            partial.rename(path)


@contextmanager
def partial_file(path: Path, content: bytes) -> Iterator[Path]:
    """Write the content to a temporary file beside ``path`` and to the disk; delete the file afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new name instead of a suffix: the old name may have as many bytes as the file system allows.
    partial = path.with_name(f"{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)
