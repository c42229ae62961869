"""The two ways to read rows of an array, behind one interface.

From an object store tensorstore reads them. From a folder :class:`LocalRows` does, if this project wrote the
array: other layouts and codecs are tensorstore's. Measured (``benchmarks/cache_reading.py``): a random batch
from a folder comes at 0.4 to 0.8 of the speed of a memory map, and at 0.12 with tensorstore; the goal is 0.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from storage.arrays.local_rows import LocalRows

# The codecs of a chunk that create_arrays makes, as tensorstore describes them: of values with several bytes,
# and of values with one byte.
_CHECKED_BYTES = (
    [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    [{"name": "bytes"}, {"name": "crc32c"}],
)


class RowSource(Protocol):
    """Reads rows of one array. Safe to use from several threads.

    Attributes:
        threads_of_its_own: it reads a request in parallel. Else the caller splits a request among threads.

    """

    threads_of_its_own: bool

    def read_into(self, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        """Read any rows into ``values [len(rows), *row_shape]``, which is contiguous.

        Raises:
            ValueError: a chunk is missing or damaged.
            OSError: a file cannot be read.

        """


class TensorstoreRows:
    """Reads rows with tensorstore, wherever and however they are stored.

    Args:
        array: an open ``tensorstore.TensorStore``.

    """

    threads_of_its_own = True

    def __init__(self, array: Any) -> None:
        self._array = array

    def read_into(self, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        in_order = np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
        chosen = slice(rows[0], rows[0] + len(rows)) if in_order else rows
        values[...] = self._array[chosen].read().result()


def choose_source(folder: Path | None, array: Any) -> RowSource:
    """Choose how to read the rows of an array.

    Args:
        folder: folder of the array; None in an object store.
        array: the same, open in tensorstore.

    """
    if folder is None or not _has_our_layout(array):
        return TensorstoreRows(array)
    layout = array.chunk_layout
    dtype = np.dtype(array.dtype.numpy_dtype)
    return LocalRows(folder, array.shape, dtype, layout.write_chunk.shape[0], layout.read_chunk.shape[0])


def _has_our_layout(array: Any) -> bool:
    """Whether the array has the layout and the codecs of :func:`storage.arrays.layout.create_arrays`."""
    sharding, *more = array.codec.to_json()["codecs"]
    inner = sharding.get("configuration", {})
    row = list(array.shape[1:])
    return (
        not more
        and inner.get("index_location") == "end"
        and inner.get("codecs") in _CHECKED_BYTES
        and inner.get("index_codecs") in _CHECKED_BYTES
        and list(array.chunk_layout.write_chunk.shape[1:]) == row
        and list(array.chunk_layout.read_chunk.shape[1:]) == row
    )
