"""The pictures of a page: inside of the page while they are few, else in files beside it."""

from __future__ import annotations

from collections.abc import Mapping

from flows.report.page import script_json
from storage import Checkpoint

# Pages of more bytes are slow to open and to send. The rest of a page takes most of what is left to 20 MB.
_MOST_BYTES_INSIDE = 15_000_000
# Photographs that the page shows at once. So a browser reads one file for one page of the list.
PICTURES_PER_FILE = 24


class PictureFiles:
    """Takes the pictures one after the other and writes files as soon as they do not fit into the page.

    A file is a script that calls a function of the page: a browser lets a page on a disk load scripts, but no
    other files.

    Args:
        checkpoint: checkpoint of the page.

    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._waiting: list[str] = []
        self._bytes = 0
        self._files = 0

    def add(self, picture: Mapping[str, str | None]) -> None:
        """Add the picture of the next photograph."""
        content = script_json(picture)
        self._waiting.append(content)
        self._bytes += len(content)
        while self._bytes > _MOST_BYTES_INSIDE and len(self._waiting) >= PICTURES_PER_FILE:
            self._write()

    def finish(self) -> str | None:
        """Return the JSON of the pictures inside of the page; None if all of them are in files."""
        if self._bytes <= _MOST_BYTES_INSIDE:
            return f"[{','.join(self._waiting)}]"
        while self._waiting:
            self._write()
        return None

    def _write(self) -> None:
        some = ",".join(self._waiting[:PICTURES_PER_FILE])
        del self._waiting[:PICTURES_PER_FILE]
        script = f"receivePictures({self._files}, [{some}]);\n"
        self._checkpoint.write_file(f"pictures-{self._files:05d}.js", script.encode())
        self._files += 1
