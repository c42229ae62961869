"""A workspace: the place that holds the checkpoints of every stage and every configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from storage.checkpoint import Checkpoint
from storage.errors import StorageError
from storage.stores import open_store

_STAGE = re.compile(r"[a-z][a-z_]*")
_KEY = re.compile(r"[0-9a-f]{32}")


class Workspace:
    """Checkpoints in one place.

    Args:
        location: a folder, which is made when the first checkpoint is; or ``s3://BUCKET/PREFIX`` or
            ``gs://BUCKET/PREFIX``.

    Raises:
        StorageError: the location is none of these.

    """

    def __init__(self, location: str | Path) -> None:
        self._store = open_store(str(location))

    @property
    def location(self) -> str:
        """For people: a path or a URL."""
        return self._store.location

    def checkpoint(self, stage: str, key: str) -> Checkpoint:
        """The checkpoint of a stage with a key, whether it exists or not.

        Raises:
            ValueError: the stage or the key could name something outside the workspace.

        """
        if not _STAGE.fullmatch(stage) or not _KEY.fullmatch(key):
            raise ValueError(f"{stage!r}/{key!r} is not the name of a checkpoint")
        return Checkpoint(self._store.folder(f"{stage}/{key}"), stage, key)

    def checkpoints(self) -> Iterator[Checkpoint]:
        """Every checkpoint that is there, whatever its state, by stage and key; other files are no matter."""
        for stage in filter(_STAGE.fullmatch, self._store.folders()):
            for folder in self._store.folders(stage):
                key = folder.removeprefix(f"{stage}/")
                if _KEY.fullmatch(key):
                    yield self.checkpoint(stage, key)

    def made_of_other(self, key: str, content: str) -> list[Checkpoint]:
        """Checkpoints that were made of the one with this key when its content was not this content."""
        found = []
        for checkpoint in self.checkpoints():
            try:
                manifest = checkpoint.read_manifest()
            except StorageError:  # it can be read by nobody, so nobody takes it for complete
                continue
            if manifest is not None and manifest.made_of.get(key, content) not in ("", content):
                found.append(checkpoint)
        return found
