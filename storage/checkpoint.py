"""One checkpoint: a manifest, the records of its finished shards, and its arrays and files.

    <workspace>/<stage>/<key>/
        manifest.json       what it is, what it came from, and, at the end, that it is complete
        shards/000003.json  written and renamed after the arrays of shard 3 were written
        arrays/             a Zarr v3 group
        files/              whatever else the stage keeps
        digests/            for each of these files, written after it, its digest

Completion is recorded, never inferred. What is read is compared with what was written: a chunk of an array
with its checksum; a file, a record and the manifest with their digests.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.arrays import (
    ArrayReader,
    check_group,
    create_arrays,
    delete_metadata,
    delete_shard,
    write_rows,
)
from storage.errors import (
    CheckpointDamagedError,
    CheckpointMissingError,
    NoSpaceError,
    StorageError,
    UnknownArrayError,
)
from storage.kept_files import KeptFiles
from storage.key import canonical_json, digest_of_parts
from storage.manifest import Manifest, manifest_bytes, parse_manifest
from storage.shard_record import ShardRecord, read_record, record_name, recorded_shards, write_record
from storage.stores.store import Store, StoredFile

_RECORDS_AT_ONCE = 16

# A name in a checkpoint is one component of a path, and never one that leads up or away.
_ARRAY = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Booleans and numbers: nothing else can be in an array, objects least of all.
_KINDS = "biuf"


class Checkpoint:
    """A checkpoint, whether it exists or not.

    The object remembers the manifest of a complete checkpoint, which changes only if a repair or another run
    takes it back. So keep the object no longer than one piece of work. An incomplete checkpoint's manifest is
    read anew each time, and :meth:`read_manifest` always reads.

    Args:
        store: its own folder.
        stage: the stage that makes it.
        key: its address.

    """

    def __init__(self, store: Store, stage: str, key: str) -> None:
        self._store = store
        self._files = KeptFiles(store)
        self._complete: Manifest | None = None
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
            StorageError: it was written by a newer version of this software.
            CheckpointDamagedError: it is not what was written.

        """
        place = f"{self.location}/manifest.json"
        try:
            content = self._store.read("manifest.json")
        except FileNotFoundError:
            return None
        try:
            manifest = parse_manifest(content)
            problem = self._problem(manifest)
        except StorageError as error:
            raise type(error)(f"{place} {error.args[0]}") from error
        except KeyError as error:
            raise CheckpointDamagedError(f"{place} is no manifest: it lacks {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointDamagedError(f"{place} is no manifest: {error}") from error
        if problem:
            raise CheckpointDamagedError(f"{place} {problem}")
        return manifest

    def _problem(self, manifest: Manifest) -> str | None:
        """Why a manifest is none of this checkpoint: what it says is written to and read from."""
        if (manifest.stage, manifest.key) != (self.stage, self.key):
            return f"is that of {manifest.stage!r}/{manifest.key!r}"
        if manifest.rows < 0 or manifest.shard_rows < 1:
            return f"has {manifest.rows} rows in shards of {manifest.shard_rows}"
        for spec in manifest.arrays:
            if not _ARRAY.fullmatch(spec.name) or np.dtype(spec.dtype).kind not in _KINDS:
                return f"has an array {spec.name!r} of {spec.dtype!r}, which no stage writes"
        return None

    def require(self) -> Manifest:
        """The manifest of a complete checkpoint.

        Raises:
            CheckpointMissingError: it does not exist or is not complete.

        """
        manifest = self._manifest()
        if manifest is None or not manifest.complete:
            state = "does not exist" if manifest is None else "is not complete"
            raise CheckpointMissingError(f"the checkpoint {self.location} {state}", self.stage)
        return manifest

    def require_begun(self) -> Manifest:
        """The manifest.

        Raises:
            CheckpointMissingError: the checkpoint was never begun.

        """
        manifest = self._manifest()
        if manifest is None:
            raise CheckpointMissingError(f"the checkpoint {self.location} was never begun", self.stage)
        return manifest

    def _manifest(self) -> Manifest | None:
        """The manifest; that of a complete checkpoint is read once."""
        if self._complete is not None:
            return self._complete
        manifest = self.read_manifest()
        if manifest is not None and manifest.complete:
            self._complete = manifest
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
        if present is None and not self._store.create("manifest.json", manifest_bytes(manifest)):
            present = self.read_manifest()  # another run began it at the same time
        current = present or manifest
        if current.arrays:
            create_arrays(self._store, "arrays", current.arrays, current.rows, current.shard_rows)
        return current

    def finish(self, summary: Mapping[str, Any], seconds: float, warnings: Sequence[str] = ()) -> Manifest:
        """Record that everything is there."""
        manifest = self.require_begun()
        missing = self.missing_shards(manifest)
        if missing:
            raise StorageError(f"the checkpoint {self.location} still lacks shards {missing[:10]}")
        manifest = replace(
            manifest,
            complete=True,
            seconds=manifest.seconds + seconds,
            summary=dict(summary),
            warnings=tuple(warnings),
            files=self._files.digests(),
            content=self.content_digest(manifest),
        )
        self._write_manifest(manifest)
        return manifest

    def content_digest(self, manifest: Manifest) -> str:
        """Digest of the values of all arrays and of all files: equal for equal content. All shards are there.

        Raises:
            CheckpointDamagedError: the record of a shard is not what was written.

        """

        def parts() -> Iterator[bytes]:  # of what content_key would be given, without having it all at once
            yield b'{"files":' + canonical_json(self._files.digests()) + b',"shards":['
            for record in self.records(manifest):
                yield (b"," if record.shard else b"") + canonical_json(record.digests)
            yield b"]}"

        return digest_of_parts(parts())

    def add_seconds(self, seconds: float) -> None:
        """Note the time of an attempt that did not finish."""
        manifest = self.read_manifest()
        if manifest is not None and not manifest.complete:
            self._write_manifest(replace(manifest, seconds=manifest.seconds + seconds))

    def _write_manifest(self, manifest: Manifest) -> None:
        self._complete = None
        self._store.write("manifest.json", manifest_bytes(manifest))

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
        done = set(recorded_shards(self._store))
        return [shard for shard in range(manifest.num_shards) if shard not in done]

    def has_shard(self, shard: int) -> bool:
        """Whether a shard is finished."""
        return self._store.exists(record_name(shard))

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
        write_record(self._store, record)
        return record

    def read_record(self, shard: int) -> ShardRecord:
        """The record of a finished shard.

        Raises:
            CheckpointDamagedError: the record is gone, or is not what was written.

        """
        return read_record(self._store, shard)

    def records(self, manifest: Manifest) -> Iterator[ShardRecord]:
        """The records of all shards, in order; read ahead, for an object store answers slowly but to many."""
        with ThreadPoolExecutor(_RECORDS_AT_ONCE) as pool:
            for first in range(0, manifest.num_shards, _RECORDS_AT_ONCE):
                last = min(manifest.num_shards, first + _RECORDS_AT_ONCE)
                yield from pool.map(self.read_record, range(first, last))

    # -- content -----------------------------------------------------------------------------------------

    def array(self, name: str) -> ArrayReader:
        """A reader of one of its arrays.

        Raises:
            CheckpointMissingError: the checkpoint was never begun.
            UnknownArrayError: it has no such array.
            CheckpointDamagedError: the metadata of the array are not those that the manifest names.

        """
        manifest = self.require_begun()
        specs = {spec.name: spec for spec in manifest.arrays}
        if name not in specs:
            raise UnknownArrayError(
                f"the checkpoint {self.location} has no array {name!r}; it has {', '.join(specs) or 'none'}"
            )
        spec = specs[name]
        reader = ArrayReader(self._store, f"arrays/{name}")
        reader.check(spec, manifest.rows, manifest.shard_rows)
        return reader

    def check_metadata(self, name: str) -> None:
        """See that one of its arrays can be opened, here and by other readers of Zarr.

        Raises:
            CheckpointDamagedError: it cannot.

        """
        check_group(self._store, "arrays")
        self.array(name)

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file of the checkpoint. A kill at any instant leaves the old content or the new one.

        Raises:
            StorageError: no room, no permission, no connection.
            ValueError: no stage writes a file with such a name.

        """
        self._files.write(name, content)

    def read_file(self, name: str) -> bytes:
        """The content of a file of the checkpoint.

        Raises:
            CheckpointDamagedError: it is not there, or is not what was written. Version 1 of the schema has
                nothing to compare with.

        """
        manifest = self._manifest()
        return self._files.read(name, None if manifest is None else manifest.files.get(name))

    def has_file(self, name: str) -> bool:
        """Whether the checkpoint has a file, with its digest."""
        return self._files.has(name)

    def file_names(self, manifest: Manifest) -> list[str]:
        """The files that it says are there, in order."""
        return sorted(self._files.names() | manifest.files.keys())

    def delete_file(self, name: str) -> None:
        """Delete a file of the checkpoint; nothing where there is none."""
        self._files.delete(name)

    def file_location(self, name: str) -> str:
        """Where a file of the checkpoint is, for people: a path or a URL."""
        return self._files.location(name)

    def write_values(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write an array that is no rows of images as a ``.npy`` file of the checkpoint."""
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        self.write_file(name, buffer.getvalue())

    def read_values(self, name: str) -> npt.NDArray[Any]:
        """An array that :meth:`write_values` wrote.

        Raises:
            CheckpointDamagedError: the file is missing, or is something else; nothing is unpickled.

        """
        content = io.BytesIO(self.read_file(name))
        try:
            values: npt.NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise CheckpointDamagedError(f"{self.file_location(name)} is not an array: {error}") from error
        return values

    def digests(self) -> dict[str, Sequence[str]]:
        """Digests of the values of every array, shard by shard: equal for equal content."""
        manifest = self.require()
        records = list(self.records(manifest))
        return {spec.name: [record.digests[spec.name] for record in records] for spec in manifest.arrays}

    def stored_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.stored_files())

    def stored_files(self) -> list[StoredFile]:
        """All its files, whatever they are."""
        return list(self._store.list())

    # -- taking back -------------------------------------------------------------------------------------

    def forget(self, manifest: Manifest, shards: Iterable[int], files: Iterable[str]) -> None:
        """Take back that shards and files are there, so that the next run computes them, and only them."""
        self._write_manifest(replace(manifest, complete=False, content="", files={}))
        for shard in shards:
            self._store.delete(record_name(shard))
            for spec in manifest.arrays:
                delete_shard(self._store, f"arrays/{spec.name}", spec, shard)
        for name in files:
            self.delete_file(name)

    def rewrite_metadata(self, manifest: Manifest) -> None:
        """Write the metadata of the arrays as the manifest has them; the values stay."""
        delete_metadata(self._store, "arrays", manifest.arrays)
        create_arrays(self._store, "arrays", manifest.arrays, manifest.rows, manifest.shard_rows)

    def delete(self) -> None:
        """Remove it with all that it holds.

        A kill at any instant leaves a checkpoint that was begun, of which the next run, or the next deletion,
        finds what is there: the manifest goes last.
        """
        try:
            manifest = self.read_manifest()
        except StorageError:  # nobody reads past a manifest that cannot be read
            manifest = None
        self._complete = None
        if manifest is not None and manifest.complete:
            self._write_manifest(replace(manifest, complete=False, content="", files={}))
        for part in ("shards", "digests", "files", "arrays"):
            self._store.delete_all(part)
        self._store.delete_all()
