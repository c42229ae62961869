"""Checkpoints: a content-addressed tree of Zarr groups. Knows nothing of segmentation or of Prefect."""

from storage.arrays import ArraySpec
from storage.checkpoint import Checkpoint
from storage.damage import Damage, count_parts, find_damage, repair
from storage.errors import (
    CheckpointDamagedError,
    CheckpointMissingError,
    FileSystemError,
    NoSpaceError,
    StorageError,
    UnknownArrayError,
)
from storage.key import content_key
from storage.manifest import Manifest
from storage.shards import ShardRecord
from storage.workspace import Workspace

__all__ = [
    "ArraySpec",
    "Checkpoint",
    "CheckpointDamagedError",
    "CheckpointMissingError",
    "Damage",
    "FileSystemError",
    "Manifest",
    "NoSpaceError",
    "ShardRecord",
    "StorageError",
    "UnknownArrayError",
    "Workspace",
    "content_key",
    "count_parts",
    "find_damage",
    "repair",
]
