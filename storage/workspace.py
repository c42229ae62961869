"""A workspace: the place that holds the checkpoints of every stage and every configuration."""

from __future__ import annotations

import re
from pathlib import Path

from storage.checkpoint import Checkpoint
from storage.store import open_store

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

    def checkpoint(self, stage: str, key: str) -> Checkpoint:
        """The checkpoint of a stage with a key, whether it exists or not.

        Raises:
            ValueError: the stage or the key could name something outside the workspace.

        """
        if not _STAGE.fullmatch(stage) or not _KEY.fullmatch(key):
            raise ValueError(f"{stage!r}/{key!r} is not the name of a checkpoint")
        return Checkpoint(self._store.folder(f"{stage}/{key}"), stage, key)
