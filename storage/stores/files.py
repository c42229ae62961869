"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_SUFFIX = ".partial"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a process killed at any instant, sees the old one or the new one.

    Raises:
        OSError: as the operating system says; no partial file is left behind.

    """
    with partial_file(path, content) as partial:
        try:
            partial.replace(path)
        except FileExistsError:
            # Some network file systems do not replace. A kill between these two lines leaves no file at all.
            path.unlink()
            partial.rename(path)


@contextmanager
def partial_file(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside ``path`` with the content, safe on the disk; it is gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the name and more: that may have all the bytes that a file system allows.
    partial = path.with_name(f"{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)
