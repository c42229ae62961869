"""Layout of arrays: their metadata, which zarr makes, and how tensorstore opens them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.errors import CheckpointDamagedError
from storage.stores.store import Store
from storage.threads import THREADS

# Smaller rows share a chunk: a checksum and an index entry for every twenty bytes would be waste.
_MIN_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class ArraySpec:
    """One array of a checkpoint.

    Attributes:
        name: name of the array, unique in the checkpoint.
        row_shape: shape of the row of one image.
        dtype: NumPy name of the type of the values.
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
    """Write the metadata of a Zarr group of arrays ``[rows, *row_shape]``. Keep metadata that exists."""
    import zarr  # it takes half a second, and readers do without it
    from zarr.codecs import Crc32cCodec
    from zarr.storage import MemoryStore

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
    """Delete the files that :func:`create_arrays` writes."""
    for folder in (group, *(f"{group}/{spec.name}" for spec in specs)):
        store.delete(f"{folder}/zarr.json")


def delete_shard(store: Store, name: str, spec: ArraySpec, shard: int) -> None:
    """Delete the file of one shard.

    A damaged shard must be deleted before it is written again: tensorstore reads the last shard, which is
    seldom full, before it writes to it.
    """
    store.delete(f"{name}/c/{shard}{'/0' * len(spec.row_shape)}")


def check_group(store: Store, group: str) -> None:
    """Check that other readers of Zarr find the arrays.

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


def tensorstore_spec(store: Store, name: str) -> dict[str, Any]:
    """Describe an array to tensorstore."""
    return {
        "driver": "zarr3",
        "kvstore": store.tensorstore(name),
        # A missing chunk must not read as zeros, and a chunk of zeros must not be missing.
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
        "context": {
            "data_copy_concurrency": {"limit": THREADS},
            "file_io_concurrency": {"limit": THREADS},
        },
    }
