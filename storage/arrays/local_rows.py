"""Rows of an array in a folder, read from the files straight into the memory where they are needed.

tensorstore reads a chunk into fresh pages and copies it from there, which costs four times the processor time
of the bytes (``benchmarks/cache_io.py``). Here the operating system copies a chunk to its place, where its
checksum is checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

_CHECKSUM_BYTES = 4
# Largest possible offset in a file. A damaged index may hold any number of 64 bits.
_LARGEST_OFFSET = (1 << 63) - 1


class LocalRows:
    """Reads shards whose chunks are plain bytes with a checksum (codecs ``bytes`` and ``crc32c``).

    The layout is that of Zarr's codec ``sharding_indexed``: chunks anywhere in the file, and an index at its
    end. The index has two ``uint64`` for each chunk, its offset and its length, and a checksum. All numbers
    are little-endian.

    Args:
        folder: folder of the array.
        shape: shape of the array, ``(N, *row_shape)``.
        dtype: type of its values.
        shard_rows: number of rows in a shard.
        chunk_rows: number of rows in a chunk.

    """

    threads_of_its_own = False

    def __init__(
        self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any], shard_rows: int, chunk_rows: int
    ) -> None:
        self._row_shape = shape[1:]
        self._prefix, self._suffix = f"{folder}/c/", "/0" * len(self._row_shape)
        self._dtype = dtype.newbyteorder("<")
        self._shard_rows = shard_rows
        self._chunk_rows = chunk_rows

    def read_into(self, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        """Read any rows into ``values [len(rows), *row_shape]``, which is contiguous.

        Raises:
            ValueError: a chunk is missing or damaged.
            OSError: a file cannot be read.

        """
        for shard, start, stop in _runs(rows // self._shard_rows):
            path = f"{self._prefix}{shard}{self._suffix}"
            try:
                file = os.open(path, os.O_RDONLY)
                try:
                    self._read_shard(file, rows[start:stop] % self._shard_rows, values[start:stop])
                finally:
                    os.close(file)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise ValueError(f"there is no {path}") from error
            except OSError as error:
                error.filename = path  # an error while reading does not name the file
                raise
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error

    def _read_shard(self, file: int, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        index, content = self._read_index(file), values.reshape(-1).view(np.uint8).data
        row_size = len(content) // len(rows)
        size = row_size * self._chunk_rows
        # Python code of one thread blocks that of the others, so this loop does little for a chunk.
        for chunk, start, stop in _runs(rows // self._chunk_rows):
            offset, stored = index[chunk]
            if stored != size + _CHECKSUM_BYTES:  # a chunk that was never written has the largest number here
                raise ValueError(f"chunk {chunk} is missing")
            if stop - start == self._chunk_rows and (
                stop - start == 1 or (np.diff(rows[start:stop]) == 1).all()
            ):
                _read_checked(file, offset, content[start * row_size : stop * row_size])
            else:
                whole = np.empty((self._chunk_rows, *self._row_shape), self._dtype)
                _read_checked(file, offset, whole.reshape(-1).view(np.uint8).data)
                values[start:stop] = whole[rows[start:stop] % self._chunk_rows]

    def _read_index(self, file: int) -> list[list[int]]:
        """Read the offset of every chunk, and its length with the checksum."""
        index = np.empty((self._shard_rows // self._chunk_rows, 2), dtype="<u8")
        start = os.fstat(file).st_size - index.nbytes - _CHECKSUM_BYTES
        _read_checked(file, start, index.reshape(-1).view(np.uint8).data)
        found: list[list[int]] = index.tolist()
        return found


def _read_checked(file: int, offset: int, content: memoryview) -> None:
    """Fill a buffer from an offset of a file, and compare it with the checksum behind it."""
    if not 0 <= offset <= _LARGEST_OFFSET:
        raise ValueError(f"it has no byte {offset}")
    checksum = bytearray(_CHECKSUM_BYTES)
    if os.preadv(file, [content, checksum], offset) != len(content) + _CHECKSUM_BYTES:
        raise ValueError(f"it ends within the chunk that begins at byte {offset}")
    if crc32c(content) != int.from_bytes(checksum, "little"):
        raise ValueError(f"the checksum of the chunk that begins at byte {offset} is wrong")


def _runs(numbers: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Find runs of equal numbers: the number, the first place of the run, and the place after its last."""
    ends = (np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist()
    starts = [0, *ends]
    return zip(numbers[starts].tolist(), starts, [*ends, len(numbers)], strict=True)
