"""A workspace: one place for the checkpoints of all stages and all configurations."""

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
    """The checkpoints in one place.

    Args:
        location: a folder, which the first checkpoint creates; or ``s3://BUCKET/PREFIX`` or
            ``gs://BUCKET/PREFIX``.

    Raises:
        StorageError: the location is none of these.

    Example:
        >>> for checkpoint in Workspace("workspace").checkpoints():
        ...     print(checkpoint.stage, checkpoint.key)

    """

    def __init__(self, location: str | Path) -> None:
        self._store = open_store(str(location))

    @property
    def location(self) -> str:
        """Path or URL of the workspace, for people."""
        return self._store.location

    def exists(self) -> bool:
        """Whether the folder is there; in an object store, whether anything has the prefix."""
        if "://" in self.location:
            return next(self._store.folders(), None) is not None
        return Path(self.location).is_dir()

    def make(self) -> None:
        """Make the folder if it is missing; an object store has none.

        Raises:
            FileSystemError: it cannot be made.

        """
        self._store.make()

    def checkpoint(self, stage: str, key: str) -> Checkpoint:
        """Return the checkpoint of a stage with a key, whether it exists or not.

        Raises:
            ValueError: the stage or the key could name a place outside of the workspace.

        """
        if not _STAGE.fullmatch(stage) or not _KEY.fullmatch(key):
            raise ValueError(f"{stage!r}/{key!r} is not the name of a checkpoint")
        return Checkpoint(self._store.folder(f"{stage}/{key}"), stage, key)

    def checkpoints(self) -> Iterator[Checkpoint]:
        """List the existing checkpoints in any state, ordered by stage and key. Other files do not matter."""
        for stage in filter(_STAGE.fullmatch, self._store.folders()):
            for folder in self._store.folders(stage):
                key = folder.removeprefix(f"{stage}/")
                if _KEY.fullmatch(key):
                    yield self.checkpoint(stage, key)

    def made_of_other(self, key: str, content: str) -> list[Checkpoint]:
        """Find checkpoints that were made of another content of the checkpoint with this key."""
        found = []
        for checkpoint in self.checkpoints():
            try:
                manifest = checkpoint.read_manifest()
            except StorageError:  # nobody can use a checkpoint whose manifest cannot be read
                continue
            if manifest is not None and manifest.made_of.get(key, content) not in ("", content):
                found.append(checkpoint)
        return found
