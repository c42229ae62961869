"""A workspace: the folder that holds the checkpoints of every stage and every configuration."""

from __future__ import annotations

import re
from pathlib import Path

from storage.checkpoint import Checkpoint

_STAGE = re.compile(r"[a-z][a-z_]*")
_KEY = re.compile(r"[0-9a-f]{32}")


class Workspace:
    """Checkpoints under one folder.

    Args:
        root: made when the first checkpoint is.

    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def checkpoint(self, stage: str, key: str) -> Checkpoint:
        """The checkpoint of a stage with a key, whether it exists or not.

        Raises:
            ValueError: the stage or the key could name something outside the workspace.

        """
        if not _STAGE.fullmatch(stage) or not _KEY.fullmatch(key):
            raise ValueError(f"{stage!r}/{key!r} is not the name of a checkpoint")
        return Checkpoint(self.root / stage / key, stage, key)
