"""Paths of exported and predicted files. They stay inside the output folder, whatever a name contains."""

from __future__ import annotations

import os
from pathlib import Path

from flows.errors import FlowError
from storage.key import digest

# Bytes in the name of a file, the limit of common file systems.
_MOST_BYTES = 255
_DIGEST = 8


def output_path(folder: Path, name: str, suffix: str) -> Path:
    """Return the path ``<folder>/<name><suffix>``, which stays inside the folder.

    A name that is too long is cut, and ends in a digest of the whole name. If a link has this path, replace
    the link, do not follow it.

    Args:
        folder: output folder.
        name: name of the output without suffix, a relative path with ``/``.
        suffix: end of the file's name.

    Raises:
        FlowError: the file would be outside the folder, or no file can have this name.

    """
    parent, _, last = name.rpartition("/")
    try:
        encoded = os.fsencode(last)
        room = _MOST_BYTES - len(os.fsencode(suffix))
        if len(encoded) > room:
            ending = f"-{digest(encoded)[:_DIGEST]}"
            last = encoded[: room - len(ending)].decode(errors="ignore") + ending
        path = folder / parent / f"{last}{suffix}"
        inside = Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder))
    except ValueError:  # a NUL, or a character that is no byte in the file system's encoding
        inside = False
    if not inside or "\0" in last:
        raise FlowError(
            f"the result of {name!r} cannot be written in {folder}: its name leads elsewhere; rename it"
        )
    return path
