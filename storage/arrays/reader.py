"""Reading rows of an array in any order, in the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.arrays.failures import damage_reason
from storage.arrays.layout import ArraySpec, tensorstore_spec
from storage.arrays.row_source import choose_source
from storage.errors import CheckpointDamagedError, FileSystemError
from storage.stores.store import Store
from storage.threads import THREADS

# Size of a block of :meth:`ArrayReader.blocks` in memory.
_BLOCK_BYTES = 1 << 23
# Smallest and largest piece that one thread reads at once. A smaller piece is not worth a thread; of a larger
# one an object store's whole answer would be in memory beside the values.
_LEAST_PIECE_BYTES, _PIECE_BYTES = 1 << 20, 20 << 20


class ArrayReader:
    """Reads rows of one array. A row that was never written is an error, not a fill value.

    Args:
        store: store of the checkpoint.
        name: folder of the array in the store.

    Attributes:
        place: location of the array, for messages.
        shape: shape of the array, ``(N, *row_shape)``.
        dtype: type of its values.

    Raises:
        CheckpointDamagedError: there is no such array, or its metadata cannot be read.
        StorageError: the store does not answer.

    """

    def __init__(self, store: Store, name: str) -> None:
        import tensorstore  # whoever reads no array does without it

        self.place = f"{store.location}/{name}"
        try:
            array: Any = tensorstore.open(tensorstore_spec(store, name), read=True, open=True).result()
        except (ValueError, OSError) as error:
            reason = damage_reason(error)
            raise CheckpointDamagedError(f"array {self.place} cannot be opened: {reason}") from error
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype.numpy_dtype)
        self._shard: tuple[int, ...] = array.chunk_layout.write_chunk.shape
        self._source = choose_source(store.path(name), array)

    def check(self, spec: ArraySpec, rows: int, shard_rows: int) -> None:
        """Compare the metadata, which have no checksum, with those that the checkpoint's manifest implies.

        If the metadata had a smaller shape, the end of every row would be missing without an error.

        Raises:
            CheckpointDamagedError: they differ.

        """
        found = (self.shape, self.dtype, self._shard)
        written = ((rows, *spec.row_shape), np.dtype(spec.dtype), (shard_rows, *spec.row_shape))
        if found != written:
            raise CheckpointDamagedError(
                f"the metadata of array {self.place} say {_describe(*found)}, not {_describe(*written)}"
            )

    def rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Read the rows from ``start`` to before ``stop``: ``[stop - start, *row_shape]``.

        Raises:
            CheckpointDamagedError: a row is missing or its checksum is wrong.
            FileSystemError: the store does not answer.

        """
        return self.read_ahead(np.arange(start, stop)).result()

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """Read all rows in order, in blocks of whole shards of some megabytes."""
        shard_rows = self._shard[0]
        step = shard_rows * max(1, _BLOCK_BYTES // (shard_rows * self._row_bytes))
        for start in range(0, self.shape[0], step):
            yield self.rows(start, min(self.shape[0], start + step))

    def read_ahead(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> PendingRows:
        """Start to read any rows in the background; repeats are allowed."""
        wanted = np.asarray(rows, dtype=np.int64)
        if ((wanted < 0) | (wanted >= self.shape[0])).any():
            raise IndexError(f"array {self.place} has {self.shape[0]} rows; asked for {wanted.tolist()}")
        values = np.empty((len(wanted), *self.shape[1:]), dtype=self.dtype)
        size = self._piece_rows(len(wanted))
        pieces = [slice(first, first + size) for first in range(0, len(wanted), size)]
        parts = [_readers().submit(self._source.read_into, wanted[piece], values[piece]) for piece in pieces]
        return PendingRows(self, parts, wanted, values)

    @property
    def _row_bytes(self) -> int:
        return max(1, int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize)

    def _piece_rows(self, count: int) -> int:
        """Number of rows of a piece, if ``count`` rows are read."""
        most = max(1, _PIECE_BYTES // self._row_bytes)
        if self._source.threads_of_its_own:
            return most
        return min(most, max(-(-count // THREADS), _LEAST_PIECE_BYTES // self._row_bytes, 1))

    def damaged_shards(self, rows: npt.NDArray[np.int64]) -> list[int]:
        """Find the damaged ones among the shards of some rows; the error of a read names one chunk only."""
        shards = rows // self._shard[0]
        damaged = []
        for shard in np.unique(shards).tolist():
            some = np.unique(rows[shards == shard])
            try:
                self._source.read_into(some, np.empty((len(some), *self.shape[1:]), self.dtype))
            except (ValueError, OSError):
                damaged.append(shard)
        return damaged


@dataclass(frozen=True)
class PendingRows:
    """Rows that are being read in the background."""

    _reader: ArrayReader
    _parts: Sequence[Future[None]]
    _rows: npt.NDArray[np.int64]
    _values: npt.NDArray[Any]

    def result(self) -> npt.NDArray[Any]:
        """Wait for the rows, ``[len(rows), *row_shape]``. Raises the errors of :meth:`ArrayReader.rows`."""
        try:
            for part in self._parts:
                part.result()
        except (ValueError, OSError) as error:
            reason = damage_reason(error)
            damaged = self._reader.damaged_shards(self._rows)
            place = f"array {self._reader.place}"
            if not damaged:  # its file was replaced between the two reads
                raise FileSystemError(f"{place} was read wrongly once, and then rightly: {reason}") from error
            shards = f"shard{'s' * (len(damaged) != 1)} {', '.join(map(str, damaged))}"
            raise CheckpointDamagedError(f"{place} is damaged or incomplete in {shards}: {reason}") from error
        return self._values


@lru_cache(maxsize=1)
def _readers() -> ThreadPoolExecutor:
    """Threads that read rows of all arrays in the background."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="read")


def _describe(shape: Sequence[int], dtype: np.dtype[Any], shard: Sequence[int]) -> str:
    return f"{dtype} {tuple(shape)} in shards of {tuple(shard)}"
