"""Checkpoints: a content-addressed tree of Zarr groups. Knows nothing of segmentation or of Prefect."""

from storage.arrays import ArraySpec
from storage.checkpoint import Checkpoint, Manifest, ShardRecord
from storage.errors import CheckpointDamagedError, CheckpointMissingError, NoSpaceError, StorageError
from storage.key import content_key
from storage.workspace import Workspace

__all__ = [
    "ArraySpec",
    "Checkpoint",
    "CheckpointDamagedError",
    "CheckpointMissingError",
    "Manifest",
    "NoSpaceError",
    "ShardRecord",
    "StorageError",
    "Workspace",
    "content_key",
]
