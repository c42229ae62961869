"""Atomic writing of files: a reader finds the whole file or none."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PARTIAL_SUFFIX = ".partial"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a reader sees the old content or the new one, also after a kill at any instant.

    Raises:
        OSError: the operating system refuses. No partial file is left behind.

    """
    with partial_file(path, content) as partial:
        _replace(path, partial)


@contextmanager
def open_atomically(path: Path) -> Iterator[TextIO]:
    """Open a text file to write it piece by piece. It replaces ``path`` if the context ends without an error.

    The text is UTF-8. A half of a character, which UTF-8 does not have, is escaped.

    Raises:
        OSError: the operating system refuses. No partial file is left behind.

    """
    partial = _partial_path(path)
    try:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(path, partial)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def partial_file(path: Path, content: bytes) -> Iterator[Path]:
    """Write the content to a temporary file beside ``path`` and to the disk; delete the file afterwards."""
    partial = _partial_path(path)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _partial_path(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new name instead of a suffix: the old name may have as many bytes as the file system allows.
    return path.with_name(f"{uuid.uuid4().hex}{PARTIAL_SUFFIX}")


def _replace(path: Path, partial: Path) -> None:
    try:
        partial.replace(path)
    except FileExistsError:
        # Some network file systems cannot replace a file. A kill between these two lines leaves no file.
        path.unlink()
        partial.rename(path)
