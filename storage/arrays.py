"""Dense per-image arrays in Zarr v3: zarr makes the hierarchy, tensorstore writes the shards.

One row is one image. Rows are stored in shards, one file each, and a shard is written whole by one
process. Inside a shard, rows stand in chunks that can be read alone, each with its own checksum, so that a
random batch reads only its rows and a flipped bit is an error and never a number. From a folder rows are read
by :mod:`storage.local_rows`, from elsewhere by tensorstore: ``benchmarks/cache_io.py`` shows why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from storage.errors import CheckpointDamagedError, FileSystemError, StorageError
from storage.key import digest
from storage.local_rows import LocalRows
from storage.stores.store import Store
from storage.threads import THREADS

# Rows smaller than this share a chunk: a checksum and an index entry for every twenty bytes is waste.
_MIN_CHUNK_BYTES = 1 << 16
# Of an array that is gone through, this much is in memory at once.
_BLOCK_BYTES = 1 << 23
# What one thread reads in one piece, at least and at most: less is not worth a thread, and of more an object
# store's answer would be in memory whole beside the values.
_LEAST_PIECE_BYTES, _PIECE_BYTES = 1 << 20, 20 << 20
# Errors of tensorstore that say nothing of what is stored: too many open files, no right, no network.
_NOT_THE_BYTES = (
    "RESOURCE_EXHAUSTED",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "CANCELLED",
)
# How tensorstore describes little-endian values with a checksum, and values of one byte.
_CHECKED_BYTES = (
    [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    [{"name": "bytes"}, {"name": "crc32c"}],
)
# How tensorstore says that the operating system refused.
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")


@dataclass(frozen=True)
class ArraySpec:
    """One array of a checkpoint.

    Attributes:
        name: unique in the checkpoint.
        row_shape: shape of the row of one image.
        dtype: NumPy name.
        dimensions: names of the dimensions of a row, for readers of the Zarr metadata.

    """

    name: str
    row_shape: tuple[int, ...]
    dtype: str
    dimensions: tuple[str, ...]

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.row_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def create_arrays(store: Store, group: str, specs: Sequence[ArraySpec], rows: int, shard_rows: int) -> None:
    """Write the metadata of a Zarr group of arrays ``[rows, *row_shape]``, where it is not there yet."""
    documents: dict[str, Any] = {}
    root = zarr.create_group(MemoryStore(documents), zarr_format=3)
    for spec in specs:
        chunk_rows = min(shard_rows, max(1, _MIN_CHUNK_BYTES // max(1, spec.row_bytes)))
        while shard_rows % chunk_rows:
            chunk_rows -= 1
        root.create_array(
            spec.name,
            shape=(rows, *spec.row_shape),
            dtype=spec.dtype,
            chunks=(chunk_rows, *spec.row_shape),
            shards=(shard_rows, *spec.row_shape),
            compressors=[Crc32cCodec()],
            dimension_names=("image", *spec.dimensions),
        )
    for name, document in documents.items():
        if not store.exists(f"{group}/{name}"):
            store.write(f"{group}/{name}", document.to_bytes())


def delete_metadata(store: Store, group: str, specs: Sequence[ArraySpec]) -> None:
    """Delete what :func:`create_arrays` writes."""
    for folder in (group, *(f"{group}/{spec.name}" for spec in specs)):
        store.delete(f"{folder}/zarr.json")


def delete_shard(store: Store, name: str, spec: ArraySpec, shard: int) -> None:
    """Delete the file of one shard. The last shard is seldom full, and to write it is to read it first."""
    store.delete(f"{name}/c/{shard}{'/0' * len(spec.row_shape)}")


def check_group(store: Store, group: str) -> None:
    """See that other readers of Zarr find the arrays.

    Raises:
        CheckpointDamagedError: they do not.

    """
    name = f"{group}/zarr.json"
    try:
        document = json.loads(store.read(name))
        found = document["zarr_format"], document["node_type"]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise CheckpointDamagedError(f"{store.location}/{name} is no group of Zarr: {error}") from error
    if found != (3, "group"):
        raise CheckpointDamagedError(f"{store.location}/{name} is no group of Zarr but {found}")


class ArrayReader:
    """Reads rows of one array; a row that was never written is an error, not a fill value.

    Raises:
        CheckpointDamagedError: there is no such array, or its metadata cannot be read.
        StorageError: the store does not answer.

    """

    def __init__(self, store: Store, name: str) -> None:
        self.place = f"{store.location}/{name}"
        try:
            self._store: Any = tensorstore.open(_spec(store, name), read=True, open=True).result()
        except (ValueError, OSError) as error:
            reason = _stored_wrong(error)
            raise CheckpointDamagedError(f"array {self.place} cannot be opened: {reason}") from error
        folder = store.path(name)
        self._local = None if folder is None else _local_rows(folder, self._store)

    def check(self, spec: ArraySpec, rows: int, shard_rows: int) -> None:
        """Compare the metadata, which have no checksum, with what the checkpoint says of the array.

        With a smaller shape the end of every row would be left out in silence.

        Raises:
            CheckpointDamagedError: they differ.

        """
        found = (self.shape, self.dtype, self._store.chunk_layout.write_chunk.shape)
        written = ((rows, *spec.row_shape), np.dtype(spec.dtype), (shard_rows, *spec.row_shape))
        if found != written:
            raise CheckpointDamagedError(
                f"the metadata of array {self.place} say {_describe(*found)}, not {_describe(*written)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._store.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self._store.dtype.numpy_dtype)
        return found

    def rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows ``[stop - start, ...]``.

        Raises:
            CheckpointDamagedError: a row is missing or its checksum is wrong.
            FileSystemError: the store does not answer.

        """
        return self.read_ahead(np.arange(start, stop)).result()

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """All rows in order, as many whole shards at a time as make some megabytes."""
        shard_rows = self._store.chunk_layout.write_chunk.shape[0]
        step = shard_rows * max(1, _BLOCK_BYTES // (shard_rows * self._row_bytes))
        for start in range(0, self.shape[0], step):
            yield self.rows(start, min(self.shape[0], start + step))

    def read_ahead(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> PendingRows:
        """Start reading any rows, repeats allowed; the reading goes on in the background."""
        wanted = np.asarray(rows, dtype=np.int64)
        if ((wanted < 0) | (wanted >= self.shape[0])).any():
            raise IndexError(f"array {self.place} has {self.shape[0]} rows; asked for {wanted.tolist()}")
        values = np.empty((len(wanted), *self.shape[1:]), dtype=self.dtype)
        size = self._piece_rows(len(wanted))
        pieces = [slice(first, first + size) for first in range(0, len(wanted), size)]
        parts = [_readers().submit(self._read_into, wanted[piece], values[piece]) for piece in pieces]
        return PendingRows(self, parts, wanted, values)

    @property
    def _row_bytes(self) -> int:
        return max(1, int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize)

    def _piece_rows(self, count: int) -> int:
        """How many of ``count`` rows one thread reads in one piece."""
        most = max(1, _PIECE_BYTES // self._row_bytes)
        if self._local is None:  # tensorstore has threads of its own, and every piece is a request
            return most
        return min(most, max(-(-count // THREADS), _LEAST_PIECE_BYTES // self._row_bytes, 1))

    def _read_into(self, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        if self._local is not None:
            self._local.read_into(rows, values)
        else:
            in_order = np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
            chosen = slice(rows[0], rows[0] + len(rows)) if in_order else rows
            values[...] = self._store[chosen].read().result()

    def damaged_shards(self, rows: npt.NDArray[np.int64]) -> list[int]:
        """Which of the shards of some rows cannot be read: a read of many says it of one chunk."""
        shards = rows // self._store.chunk_layout.write_chunk.shape[0]
        damaged = []
        for shard in np.unique(shards).tolist():
            some = np.unique(rows[shards == shard])
            try:
                self._read_into(some, np.empty((len(some), *self.shape[1:]), self.dtype))
            except (ValueError, OSError):
                damaged.append(shard)
        return damaged


@dataclass(frozen=True)
class PendingRows:
    """Rows that are being read."""

    _reader: ArrayReader
    _parts: Sequence[Future[None]]
    _rows: npt.NDArray[np.int64]
    _values: npt.NDArray[Any]

    def result(self) -> npt.NDArray[Any]:
        """Wait for the rows, ``[len(rows), ...]``. Raises as :meth:`ArrayReader.rows`."""
        try:
            for part in self._parts:
                part.result()
        except (ValueError, OSError) as error:
            reason = _stored_wrong(error)
            damaged = self._reader.damaged_shards(self._rows)
            place = f"array {self._reader.place}"
            if not damaged:  # as where its file was being replaced
                raise FileSystemError(f"{place} was read wrongly once, and then rightly: {reason}") from error
            shards = f"shard{'s' * (len(damaged) != 1)} {', '.join(map(str, damaged))}"
            raise CheckpointDamagedError(f"{place} is damaged or incomplete in {shards}: {reason}") from error
        return self._values


@lru_cache(maxsize=1)
def _readers() -> ThreadPoolExecutor:
    """Threads that read ahead of whoever computes, of all arrays together."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="read")


def _local_rows(folder: Path, array: Any) -> LocalRows | None:
    """What reads an array in a folder; None where it was not laid out by :func:`create_arrays`."""
    layout, (sharding, *more) = array.chunk_layout, array.codec.to_json()["codecs"]
    (shard_rows, *row), (chunk_rows, *chunk_row) = layout.write_chunk.shape, layout.read_chunk.shape
    inner = sharding.get("configuration", {})
    plain = not more and inner.get("index_location") == "end"
    for name in ("codecs", "index_codecs"):
        plain = plain and inner.get(name) in _CHECKED_BYTES
    if not plain or not list(array.shape[1:]) == row == chunk_row:
        return None
    return LocalRows(folder, array.shape, np.dtype(array.dtype.numpy_dtype), shard_rows, chunk_rows)


def write_rows(store: Store, name: str, start: int, values: npt.NDArray[Any]) -> str:
    """Write whole shards of one array from row ``start`` on; returns the digest of the values.

    Raises:
        FileSystemError: the disk is full or read-only, or another failure of the store.
        StorageError: tensorstore refuses for another reason.

    """
    values = np.ascontiguousarray(values)
    try:
        array = tensorstore.open(_spec(store, name), write=True, open=True).result()
        writing = array[start : start + len(values)].write(values)
        digest_of_values = values_digest(values)  # while the bytes are on their way
        writing.result()
    except (ValueError, OSError) as error:
        place = f"array {store.location}/{name} cannot be written"
        raise _system_failure(place, error) or StorageError(f"{place}: {_first_line(error)}") from error
    return digest_of_values


def values_digest(values: npt.NDArray[Any]) -> str:
    """Digest of the values of an array, whatever library reads or writes it."""
    return digest(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def _spec(store: Store, name: str) -> dict[str, Any]:
    return {
        "driver": "zarr3",
        "kvstore": store.tensorstore(name),
        # A chunk that is not there must not read as zeros, nor may a chunk of zeros not be there.
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
        "context": {
            "data_copy_concurrency": {"limit": THREADS},
            "file_io_concurrency": {"limit": THREADS},
        },
    }


def _stored_wrong(error: Exception) -> str:
    """What is wrong with what is stored.

    Raises:
        FileSystemError: nothing may be: it could not be read just now.

    """
    failure = _system_failure("an array cannot be read", error)
    if failure is not None:
        raise failure from error
    return _first_line(error)


def _system_failure(what: str, error: Exception) -> FileSystemError | None:
    """The error as one of the operating system or of the network, where it is."""
    reason, number = _first_line(error), _OS_ERROR.search(str(error))
    if number is not None:
        return FileSystemError(f"{what}: {reason}", int(number[1]))
    if isinstance(error, OSError):
        return FileSystemError(f"{what}: {error.filename}: {error.strerror}", error.errno)
    if reason.startswith(_NOT_THE_BYTES):
        return FileSystemError(f"{what}: {reason}")
    return None


def _describe(shape: Sequence[int], dtype: np.dtype[Any], shard: Sequence[int]) -> str:
    return f"{dtype} {tuple(shape)} in shards of {tuple(shard)}"


def _first_line(error: BaseException) -> str:
    return str(error).partition(" [")[0].partition("\n")[0]
