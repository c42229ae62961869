"""Where exports and predictions are written: in their folder, whatever a photograph is called."""

from __future__ import annotations

import os
from pathlib import Path

from flows.errors import FlowError
from storage.key import digest

# Of the name of a file, on the file systems in use.
_MOST_BYTES = 255
_DIGEST = 8


def output_path(folder: Path, name: str, suffix: str) -> Path:
    """``<folder>/<name><suffix>``; a name that would be too long is cut, and ends in a digest of the whole.

    A link that stands where the file will be is to be replaced, not followed.

    Args:
        folder: of the output.
        name: relative, with ``/``.
        suffix: what the name of the file ends in.

    Raises:
        FlowError: the file would be outside of the folder, or no file can have this name.

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
    except ValueError:  # NUL, or a character that stands for no byte
        inside = False
    if not inside or "\0" in last:
        raise FlowError(f"the result of {name!r} cannot be written in {folder}: its name leads elsewhere")
    return path
