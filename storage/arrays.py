"""Dense per-image arrays in Zarr v3: zarr makes the hierarchy, tensorstore moves the bytes.

One row is one image. Rows are stored in shards, one file each, and a shard is written whole by one
process. Inside a shard, rows stand in chunks that can be read alone, each with its own checksum, so that a
random batch reads only its rows and a flipped bit is an error and never a number. Which library reads and
writes was decided by ``benchmarks/cache_io.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from storage.errors import CheckpointDamagedError, StorageError
from storage.key import digest
from storage.store import Store

# Rows smaller than this share a chunk: a checksum and an index entry for every twenty bytes is waste.
_MIN_CHUNK_BYTES = 1 << 16


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


class ArrayReader:
    """Reads rows of one array; a row that was never written is an error, not a fill value."""

    def __init__(self, store: Store, name: str) -> None:
        self._place = f"{store.location}/{name}"
        try:
            self._store = tensorstore.open(_spec(store, name), read=True, open=True).result()
        except (ValueError, OSError) as error:
            raise CheckpointDamagedError(
                f"array {self._place} cannot be opened: {_first_line(error)}"
            ) from error

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._store.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._store.dtype.numpy_dtype)

    def rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows ``[stop - start, ...]``.

        Raises:
            CheckpointDamagedError: a row is missing or its checksum is wrong.

        """
        return self._read(self._store[start:stop].read())

    def read_ahead(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> PendingRows:
        """Start reading any rows, repeats allowed; the reading goes on in the background."""
        return PendingRows(self, self._store[np.asarray(rows, dtype=np.int64)].read())

    def _read(self, future: Any) -> npt.NDArray[Any]:
        try:
            values: npt.NDArray[Any] = future.result()
        except (ValueError, OSError) as error:
            raise CheckpointDamagedError(
                f"array {self._place} is damaged or incomplete: {_first_line(error)}"
            ) from error
        return values


@dataclass(frozen=True)
class PendingRows:
    """Rows that are being read."""

    _reader: ArrayReader
    _future: Any

    def result(self) -> npt.NDArray[Any]:
        """Wait for the rows, ``[len(rows), ...]``. Raises as :meth:`ArrayReader.rows`."""
        return self._reader._read(self._future)


def write_rows(store: Store, name: str, start: int, values: npt.NDArray[Any]) -> str:
    """Write whole shards of one array from row ``start`` on; returns the digest of the values.

    Raises:
        StorageError: the disk is full or read-only, or another failure of the store.

    """
    values = np.ascontiguousarray(values)
    try:
        array = tensorstore.open(_spec(store, name), write=True, open=True).result()
        writing = array[start : start + len(values)].write(values)
        digest_of_values = values_digest(values)  # while the bytes are on their way
        writing.result()
    except (ValueError, OSError) as error:
        raise StorageError(
            f"array {store.location}/{name} cannot be written: {_first_line(error)}"
        ) from error
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
    }


def _first_line(error: BaseException) -> str:
    return str(error).partition(" [")[0].partition("\n")[0]
