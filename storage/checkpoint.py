"""One checkpoint: a manifest, the records of its finished shards, and its arrays and files.

    <workspace>/<stage>/<key>/
        manifest.json       what the checkpoint is and was made of, and at the end that it is complete
        shards/000003.json  the record of shard 3, written and renamed after the rows of the shard
        arrays/             a Zarr v3 group
        files/              every other file that the stage keeps
        digests/            the digest of each of these files, written after the file

A shard or a checkpoint is finished when its record or its manifest says so; no other sign counts. Every read
is compared with what was written: a chunk of an array with its checksum; a file, a record and the manifest
with their digests.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.arrays import ArrayReader, check_group, create_arrays, delete_metadata
from storage.errors import (
    CheckpointDamagedError,
    CheckpointMissingError,
    NoSpaceError,
    StorageError,
    UnknownArrayError,
)
from storage.kept_files import KeptFiles
from storage.key import canonical_json, digest_of_parts
from storage.manifest import Manifest
from storage.manifest_file import ManifestFile
from storage.shards import ShardRecord, Shards
from storage.stores.store import Store, StoredFile


class Checkpoint:
    """A checkpoint, whether it exists or not.

    The object remembers the manifest of a complete checkpoint, which changes only if a repair or another run
    takes it back. So keep the object no longer than one piece of work. An incomplete checkpoint's manifest is
    read anew each time, and :meth:`read_manifest` always reads.

    Args:
        store: folder of the checkpoint.
        stage: the stage that makes it.
        key: its key.

    """

    def __init__(self, store: Store, stage: str, key: str) -> None:
        self.stage = stage
        self.key = key
        self._store = store
        self._manifest = ManifestFile(store, stage, key)
        self._shards = Shards(store)
        self._files = KeptFiles(store)

    @property
    def location(self) -> str:
        """Path or URL of the checkpoint, for people."""
        return self._store.location

    def __repr__(self) -> str:
        return f"Checkpoint({self.stage}/{self.key})"

    # -- the manifest ------------------------------------------------------------------------------------

    def read_manifest(self) -> Manifest | None:
        """Read the manifest; None if the checkpoint was never begun.

        Raises:
            StorageError: a newer version of this software wrote it.
            CheckpointDamagedError: it is not what was written.

        """
        return self._manifest.read()

    def require(self) -> Manifest:
        """Return the manifest of a complete checkpoint.

        Raises:
            CheckpointMissingError: the checkpoint does not exist or is not complete.

        """
        manifest = self._manifest.known()
        if manifest is None or not manifest.complete:
            state = "does not exist" if manifest is None else "is not complete"
            raise CheckpointMissingError(f"the checkpoint {self.location} {state}", self.stage)
        return manifest

    def require_begun(self) -> Manifest:
        """Return the manifest.

        Raises:
            CheckpointMissingError: the checkpoint was never begun.

        """
        manifest = self._manifest.known()
        if manifest is None:
            raise CheckpointMissingError(f"the checkpoint {self.location} was never begun", self.stage)
        return manifest

    # -- from the beginning to the end -------------------------------------------------------------------

    def begin(self, manifest: Manifest, extra_bytes: int = 0) -> Manifest:
        """Create the checkpoint, or continue the existing one, whose manifest then holds.

        Args:
            manifest: manifest for a checkpoint that does not exist yet.
            extra_bytes: size of the files that will be written beside the arrays.

        Raises:
            NoSpaceError: the disk has less room than the missing shards need.

        """
        present = self._manifest.read()
        self._check_space(present or manifest, extra_bytes)
        if present is None and not self._manifest.create(manifest):
            present = self._manifest.read()  # another run began it at the same time
        current = present or manifest
        if current.arrays:
            create_arrays(self._store, "arrays", current.arrays, current.rows, current.shard_rows)
        return current

    def finish(self, summary: Mapping[str, Any], seconds: float, warnings: Sequence[str] = ()) -> Manifest:
        """Record in the manifest that the checkpoint is complete.

        Raises:
            StorageError: a shard is missing.

        """
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
        self._manifest.write(manifest)
        return manifest

    def content_digest(self, manifest: Manifest) -> str:
        """Compute the digest of all arrays and files: equal content, equal digest. All shards are finished.

        Raises:
            CheckpointDamagedError: the record of a shard is not what was written.

        """

        def parts() -> Iterator[bytes]:  # the JSON that content_key would get, but never all of it at once
            yield b'{"files":' + canonical_json(self._files.digests()) + b',"shards":['
            for record in self.records(manifest):
                yield (b"," if record.shard else b"") + canonical_json(record.digests)
            yield b"]}"

        return digest_of_parts(parts())

    def add_seconds(self, seconds: float) -> None:
        """Add the duration of an attempt that did not finish."""
        manifest = self._manifest.read()
        if manifest is not None and not manifest.complete:
            self._manifest.write(replace(manifest, seconds=manifest.seconds + seconds))

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
        """List the shards without a record, in order."""
        return self._shards.missing(manifest)

    def has_shard(self, shard: int) -> bool:
        """Whether a shard is finished."""
        return self._shards.has(shard)

    def missing_bytes(self, manifest: Manifest) -> int:
        """Size of the arrays of the shards without a record, without checksums and indices."""
        return self._shards.missing_bytes(manifest)

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
            manifest: manifest of the checkpoint.
            shard: number of the shard.
            arrays: rows of the shard for every array of the manifest.
            info: JSON to keep in the record.
            seconds: duration of the computation.

        """
        return self._shards.write(manifest, shard, arrays, info, seconds)

    def read_record(self, shard: int) -> ShardRecord:
        """Read the record of a finished shard.

        Raises:
            CheckpointDamagedError: the record is missing, or is not what was written.

        """
        return self._shards.record(shard)

    def records(self, manifest: Manifest) -> Iterator[ShardRecord]:
        """Read the records of all shards, in order."""
        return self._shards.records(manifest)

    def digests(self) -> dict[str, Sequence[str]]:
        """Collect the digests of the values of every array, shard by shard."""
        manifest = self.require()
        records = list(self.records(manifest))
        return {spec.name: [record.digests[spec.name] for record in records] for spec in manifest.arrays}

    # -- arrays ------------------------------------------------------------------------------------------

    def array(self, name: str) -> ArrayReader:
        """Open a reader of one array.

        Raises:
            CheckpointMissingError: the checkpoint was never begun.
            UnknownArrayError: it has no such array.
            CheckpointDamagedError: the metadata of the array are not those that the manifest implies.

        """
        manifest = self.require_begun()
        specs = {spec.name: spec for spec in manifest.arrays}
        if name not in specs:
            raise UnknownArrayError(
                f"the checkpoint {self.location} has no array {name!r}; it has {', '.join(specs) or 'none'}"
            )
        reader = ArrayReader(self._store, f"arrays/{name}")
        reader.check(specs[name], manifest.rows, manifest.shard_rows)
        return reader

    def check_metadata(self, name: str) -> None:
        """Check that this software and other readers of Zarr can open one array.

        Raises:
            CheckpointDamagedError: they cannot.

        """
        check_group(self._store, "arrays")
        self.array(name)

    # -- files -------------------------------------------------------------------------------------------

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file of the checkpoint. A kill at any instant leaves the old content or the new one.

        Raises:
            StorageError: no room, no permission, no connection.
            ValueError: no stage writes a file with such a name.

        """
        self._files.write(name, content)

    def read_file(self, name: str) -> bytes:
        """Read a file of the checkpoint.

        Raises:
            CheckpointDamagedError: the file is missing, or is not what was written. A checkpoint of schema
                version 1 has no digests to compare with.

        """
        manifest = self._manifest.known()
        return self._files.read(name, None if manifest is None else manifest.files.get(name))

    def write_values(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write an array whose rows are not images, as a ``.npy`` file of the checkpoint."""
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        self.write_file(name, buffer.getvalue())

    def read_values(self, name: str) -> npt.NDArray[Any]:
        """Read an array that :meth:`write_values` wrote.

        Raises:
            CheckpointDamagedError: the file is missing or is no array. Nothing is unpickled.

        """
        content = io.BytesIO(self.read_file(name))
        try:
            values: npt.NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise CheckpointDamagedError(f"{self.file_location(name)} is not an array: {error}") from error
        return values

    def has_file(self, name: str) -> bool:
        """Whether the checkpoint has a file, with its digest."""
        return self._files.has(name)

    def file_names(self, manifest: Manifest) -> list[str]:
        """List the files that the checkpoint says it has, in order."""
        return sorted(self._files.names() | manifest.files.keys())

    def delete_file(self, name: str) -> None:
        """Delete a file of the checkpoint, if it exists."""
        self._files.delete(name)

    def file_location(self, name: str) -> str:
        """Path or URL of a file of the checkpoint, for people."""
        return self._files.location(name)

    def stored_bytes(self) -> int:
        """Total size of all stored files."""
        return sum(file.size for file in self.stored_files())

    def stored_files(self) -> list[StoredFile]:
        """List all stored files, whatever they are."""
        return list(self._store.list())

    # -- taking back -------------------------------------------------------------------------------------

    def forget(self, manifest: Manifest, shards: Iterable[int], files: Iterable[str]) -> None:
        """Delete some shards and files, so that the next run computes them and nothing else."""
        self._manifest.write(replace(manifest, complete=False, content="", files={}))
        for shard in shards:
            self._shards.delete(manifest, shard)
        for name in files:
            self.delete_file(name)

    def rewrite_metadata(self, manifest: Manifest) -> None:
        """Write the metadata of the arrays as the manifest implies them. The values stay."""
        delete_metadata(self._store, "arrays", manifest.arrays)
        create_arrays(self._store, "arrays", manifest.arrays, manifest.rows, manifest.shard_rows)

    def delete(self) -> None:
        """Delete the checkpoint with everything in it.

        The manifest goes last. So a kill at any instant leaves an incomplete checkpoint, and the next run or
        the next deletion finds its other files.
        """
        try:
            manifest = self._manifest.read()
        except StorageError:  # nobody can use a checkpoint whose manifest cannot be read
            manifest = None
        if manifest is not None and manifest.complete:
            self._manifest.write(replace(manifest, complete=False, content="", files={}))
        for part in ("shards", "digests", "files", "arrays"):
            self._store.delete_all(part)
        self._store.delete_all()
