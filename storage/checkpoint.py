"""One checkpoint: a manifest, the records of its finished shards, and its arrays and files.

    <workspace>/<stage>/<key>/
        manifest.json       what it is, what it came from, and, at the end, that it is complete
        shards/000003.json  written and renamed after the arrays of shard 3 were written
        arrays/             a Zarr v3 group
        files/              whatever else the stage keeps

Completion is recorded, never inferred.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy.typing as npt

from storage.arrays import ArrayReader, ArraySpec, create_arrays, write_rows
from storage.errors import CheckpointDamagedError, CheckpointMissingError, NoSpaceError, StorageError
from storage.key import content_key
from storage.store import Store, json_bytes

SCHEMA_VERSION = 1
_RECORDS_AT_ONCE = 16
_RECORD = re.compile(r"shards/([0-9]+)\.json")


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

    @property
    def num_shards(self) -> int:
        return -(-self.rows // self.shard_rows)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the row after its last."""
        return shard * self.shard_rows, min(self.rows, (shard + 1) * self.shard_rows)


@dataclass(frozen=True)
class ShardRecord:
    """That a shard is finished.

    Attributes:
        shard: its number.
        seconds: how long it took.
        digests: of the values of each array.
        info: what the stage has to say about its images, JSON.

    """

    shard: int
    seconds: float
    digests: dict[str, str]
    info: dict[str, Any]


class Checkpoint:
    """A checkpoint, whether it is there or not.

    Args:
        store: its own folder.
        stage: the stage that makes it.
        key: its address.

    """

    def __init__(self, store: Store, stage: str, key: str) -> None:
        self._store = store
        self.stage = stage
        self.key = key

    @property
    def location(self) -> str:
        """For people: a path or a URL."""
        return self._store.location

    def __repr__(self) -> str:
        return f"Checkpoint({self.stage}/{self.key})"

    # -- the manifest ------------------------------------------------------------------------------------

    def read_manifest(self) -> Manifest | None:
        """The manifest, or None where the checkpoint was never begun.

        Raises:
            StorageError: it was written by a newer version of this software, or is no manifest.

        """
        try:
            content = json.loads(self._store.read("manifest.json"))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointDamagedError(f"{self.location}/manifest.json is not JSON: {error}") from error
        version = content.pop("schema", None) if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise StorageError(
                f"{self.location}/manifest.json has schema version {version}; this software reads version "
                f"{SCHEMA_VERSION}. Use the software that wrote it, or another workspace"
            )
        try:
            content["arrays"] = tuple(
                ArraySpec(a["name"], tuple(a["row_shape"]), a["dtype"], tuple(a["dimensions"]))
                for a in content["arrays"]
            )
            content["warnings"] = tuple(content.get("warnings", ()))
            return Manifest(**content)
        except (KeyError, TypeError) as error:
            raise CheckpointDamagedError(f"{self.location}/manifest.json is incomplete: {error}") from error

    def require(self) -> Manifest:
        """The manifest of a complete checkpoint.

        Raises:
            CheckpointMissingError: it does not exist or is not complete.

        """
        manifest = self.read_manifest()
        if manifest is None or not manifest.complete:
            state = "does not exist" if manifest is None else "is not complete"
            raise CheckpointMissingError(
                f"the checkpoint {self.location} {state}; run the stage {self.stage}"
            )
        return manifest

    def begin(self, manifest: Manifest, extra_bytes: int = 0) -> Manifest:
        """Make the checkpoint, or continue the one that is there: then its manifest holds, not the new one.

        Args:
            manifest: of a checkpoint that does not exist yet.
            extra_bytes: what will be written beside the arrays.

        Raises:
            NoSpaceError: the disk has less room than the missing shards need.

        """
        present = self.read_manifest()
        self._check_space(present or manifest, extra_bytes)
        if present is None and not self._store.create("manifest.json", _manifest_bytes(manifest)):
            present = self.read_manifest()  # another run began it at the same time
        current = present or manifest
        if current.arrays:
            create_arrays(self._store, "arrays", current.arrays, current.rows, current.shard_rows)
        return current

    def finish(self, summary: Mapping[str, Any], seconds: float, warnings: Sequence[str] = ()) -> Manifest:
        """Record that everything is there."""
        manifest = self.read_manifest()
        if manifest is None:
            raise CheckpointMissingError(f"the checkpoint {self.location} was never begun")
        missing = self.missing_shards(manifest)
        if missing:
            raise StorageError(f"the checkpoint {self.location} still lacks shards {missing[:10]}")
        manifest = replace(
            manifest,
            complete=True,
            seconds=manifest.seconds + seconds,
            summary=dict(summary),
            warnings=tuple(warnings),
        )
        self._write_manifest(manifest)
        return manifest

    def add_seconds(self, seconds: float) -> None:
        """Note the time of an attempt that did not finish."""
        manifest = self.read_manifest()
        if manifest is not None and not manifest.complete:
            self._write_manifest(replace(manifest, seconds=manifest.seconds + seconds))

    def _write_manifest(self, manifest: Manifest) -> None:
        self._store.write("manifest.json", _manifest_bytes(manifest))

    def _check_space(self, manifest: Manifest, extra_bytes: int) -> None:
        needed = self.missing_bytes(manifest) + extra_bytes
        free = self._store.free_bytes()
        if free is not None and needed > free:
            raise NoSpaceError(
                f"stage {self.stage} is going to write {needed / 1e9:.2f} GB to {self.location}, and the "
                f"disk has {free / 1e9:.2f} GB free. Make room, or choose another workspace"
            )

    # -- shards ------------------------------------------------------------------------------------------

    def missing_shards(self, manifest: Manifest) -> list[int]:
        """Shards without a record, in order."""
        names = (_RECORD.fullmatch(file.name) for file in self._store.list("shards"))
        done = {int(name[1]) for name in names if name}
        return [shard for shard in range(manifest.num_shards) if shard not in done]

    def has_shard(self, shard: int) -> bool:
        """Whether a shard is finished."""
        return self._store.exists(_record_name(shard))

    def missing_bytes(self, manifest: Manifest) -> int:
        """Bytes of the arrays of the shards without a record, without checksums and indices."""
        row_bytes = sum(spec.row_bytes for spec in manifest.arrays)
        ranges = (manifest.shard_range(shard) for shard in self.missing_shards(manifest))
        return row_bytes * sum(stop - start for start, stop in ranges)

    def write_shard(
        self,
        manifest: Manifest,
        shard: int,
        arrays: Mapping[str, npt.NDArray[Any]],
        info: Mapping[str, Any],
        seconds: float,
    ) -> ShardRecord:
        """Write the rows of one shard, and then its record.

        Args:
            arrays: for every array of the manifest the rows of the shard.
            info: JSON.

        """
        start, stop = manifest.shard_range(shard)
        digests = {}
        for spec in manifest.arrays:
            values = arrays[spec.name]
            expected = (stop - start, *spec.row_shape)
            if values.shape != expected or values.dtype != spec.dtype:
                raise ValueError(
                    f"{spec.name} of shard {shard} is {values.dtype} {values.shape}, "
                    f"not {spec.dtype} {expected}"
                )
            digests[spec.name] = write_rows(self._store, f"arrays/{spec.name}", start, values)
        record = ShardRecord(shard, seconds, digests, dict(info))
        content = asdict(record)
        self._store.write(_record_name(shard), json_bytes({**content, "digest": content_key(content)}))
        return record

    def read_record(self, shard: int) -> ShardRecord:
        """The record of a finished shard.

        Raises:
            CheckpointMissingError: the shard is not finished.
            CheckpointDamagedError: the record is not what was written.

        """
        name = _record_name(shard)
        try:
            content = json.loads(self._store.read(name))
            expected = content.pop("digest")
            actual = content_key(content)
        except FileNotFoundError as error:
            raise CheckpointMissingError(f"shard {shard} of {self.location} is not finished") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointDamagedError(f"{self.location}/{name} is not a shard record: {error}") from error
        if actual != expected:
            raise CheckpointDamagedError(
                f"{self.location}/{name} has digest {actual}, not {expected}: it was changed"
            )
        return ShardRecord(**content)

    def records(self, manifest: Manifest) -> Iterator[ShardRecord]:
        """The records of all shards, in order; read ahead, for an object store answers slowly but to many."""
        with ThreadPoolExecutor(_RECORDS_AT_ONCE) as pool:
            for first in range(0, manifest.num_shards, _RECORDS_AT_ONCE):
                last = min(manifest.num_shards, first + _RECORDS_AT_ONCE)
                yield from pool.map(self.read_record, range(first, last))

    # -- content -----------------------------------------------------------------------------------------

    def array(self, name: str) -> ArrayReader:
        """A reader of one of its arrays."""
        return ArrayReader(self._store, f"arrays/{name}")

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file of the checkpoint, whole or not at all.

        Raises:
            StorageError: no room, no permission, no connection.

        """
        self._store.write(f"files/{name}", content)

    def read_file(self, name: str) -> bytes:
        """The content of a file of the checkpoint.

        Raises:
            CheckpointDamagedError: it is not there.

        """
        try:
            return self._store.read(f"files/{name}")
        except FileNotFoundError as error:
            raise CheckpointDamagedError(f"{self.file_location(name)} is missing") from error

    def has_file(self, name: str) -> bool:
        """Whether the checkpoint has a file."""
        return self._store.exists(f"files/{name}")

    def delete_file(self, name: str) -> None:
        """Delete a file of the checkpoint; nothing where there is none."""
        self._store.delete(f"files/{name}")

    def file_location(self, name: str) -> str:
        """Where a file of the checkpoint is, for people: a path or a URL."""
        return f"{self.location}/files/{name}"

    def digests(self) -> dict[str, Sequence[str]]:
        """Digests of the values of every array, shard by shard: equal for equal content."""
        manifest = self.require()
        records = list(self.records(manifest))
        return {spec.name: [record.digests[spec.name] for record in records] for spec in manifest.arrays}

    def stored_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self._store.list())


def _manifest_bytes(manifest: Manifest) -> bytes:
    return json_bytes({"schema": SCHEMA_VERSION, **asdict(manifest)})


def _record_name(shard: int) -> str:
    return f"shards/{shard:06d}.json"
