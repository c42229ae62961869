"""What a checkpoint is, in one small file, and the versions of its schema."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from storage.arrays import ArraySpec
from storage.errors import StorageError
from storage.sealed import seal, unseal

# 2: digests of the manifest and of the files, the content of the checkpoint and of what it was made of.
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is.

    Attributes:
        stage: the stage that made it.
        key: its address, a digest of stage, version, settings and inputs.
        settings: the settings that change its content.
        inputs: for each stage that it reads, the key of that checkpoint.
        rows: images, the first dimension of every array.
        shard_rows: images in one shard.
        arrays: the arrays, see :class:`ArraySpec`.
        provenance: who made it with what: versions of the software.
        created: when it was begun, ISO 8601 in UTC.
        complete: it is finished and will never change.
        seconds: how long the work took, over all attempts.
        summary: the figures of the stage.
        warnings: what a person should know of its content.
        made_of: for the key of each checkpoint that it read, what :attr:`content` was at that time.
        files: digest of each of its files, once it is complete.
        content: digest of the values of its arrays and of its files, once it is complete; empty until then,
            and in a manifest of version 1.

    """

    stage: str
    key: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    rows: int
    shard_rows: int
    arrays: tuple[ArraySpec, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    complete: bool = False
    seconds: float = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    made_of: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    content: str = ""

    @property
    def num_shards(self) -> int:
        return -(-self.rows // self.shard_rows)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the row after its last."""
        return shard * self.shard_rows, min(self.rows, (shard + 1) * self.shard_rows)


def manifest_bytes(manifest: Manifest) -> bytes:
    """A manifest of this version as it is stored."""
    return seal({"schema": SCHEMA_VERSION, **asdict(manifest)})


def parse_manifest(text: bytes) -> Manifest:
    """A manifest of this version or an earlier one.

    Raises:
        StorageError: it is of a newer version.
        CheckpointDamagedError: it is not what was written.
        ValueError, KeyError, TypeError, AttributeError: it is something else.

    """
    content = json.loads(text)
    version = content["schema"]
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"there is no schema version {version!r}")
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"has schema version {version}; this software reads up to version {SCHEMA_VERSION}. Use the "
            f"software that wrote it, or another workspace"
        )
    if version > 1:
        content = unseal(content)
    del content["schema"]
    content["arrays"] = tuple(
        ArraySpec(a["name"], tuple(a["row_shape"]), a["dtype"], tuple(a["dimensions"]))
        for a in content["arrays"]
    )
    content["warnings"] = tuple(content.get("warnings", ()))
    return Manifest(**content)
