"""The manifest: one small JSON file that describes a checkpoint, and the versions of its schema."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from storage.arrays import ArraySpec
from storage.errors import StorageError
from storage.sealed import seal, unseal

# Version 2 added digests of the manifest and of the files, ``content`` and ``made_of``.
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Manifest:
    """Description of a checkpoint.

    Attributes:
        stage: the stage that made the checkpoint.
        key: key of the checkpoint.
        settings: all settings that change its content, defaults included.
        inputs: for each stage that it reads, the key of that checkpoint.
        rows: number of images, the first dimension of every array.
        shard_rows: number of images in one shard.
        arrays: the arrays, see :class:`ArraySpec`.
        provenance: versions of the software that made it, and the digest of the listing of the data set.
        created: begin of the work, ISO 8601 in UTC.
        complete: the work is finished.
        seconds: duration of the work, over all attempts.
        summary: metrics of the stage.
        warnings: warnings about its content, for people.
        made_of: for the key of each checkpoint that it read, the ``content`` of that checkpoint at that time.
        files: digest of each of its files, once it is complete.
        content: digest of the values of its arrays and of its files, once it is complete; empty before that,
            and in manifests of version 1.

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
        """First row of a shard, and the row after its last row."""
        return shard * self.shard_rows, min(self.rows, (shard + 1) * self.shard_rows)

    def count_rows(self, shards: Iterable[int]) -> int:
        """Count the rows of some shards."""
        return sum(stop - start for start, stop in map(self.shard_range, shards))


def manifest_bytes(manifest: Manifest) -> bytes:
    """Encode a manifest in this version of the schema."""
    return seal({"schema": SCHEMA_VERSION, **asdict(manifest)})


def parse_manifest(text: bytes) -> Manifest:
    """Decode a manifest of this version of the schema or an earlier one.

    Raises:
        StorageError: it has a newer version.
        CheckpointDamagedError: it is not what was written.
        ValueError, KeyError, TypeError, AttributeError: it is no manifest.

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
