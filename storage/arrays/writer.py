"""Writing whole shards, by tensorstore."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from storage.arrays.failures import first_line, system_failure
from storage.arrays.layout import tensorstore_spec
from storage.errors import StorageError
from storage.key import digest
from storage.stores.store import Store


def write_rows(store: Store, name: str, start: int, values: npt.NDArray[Any]) -> str:
    """Write whole shards of one array from row ``start`` on; return the digest of the values.

    Raises:
        FileSystemError: the disk is full or read-only, or the store failed in another way.
        StorageError: tensorstore refuses for another reason.

    """
    import tensorstore

    values = np.ascontiguousarray(values)
    try:
        array = tensorstore.open(tensorstore_spec(store, name), write=True, open=True).result()
        writing = array[start : start + len(values)].write(values)
        digest_of_values = values_digest(values)  # while tensorstore writes
        writing.result()
    except (ValueError, OSError) as error:
        place = f"array {store.location}/{name} cannot be written"
        raise system_failure(place, error) or StorageError(f"{place}: {first_line(error)}") from error
    return digest_of_values


def values_digest(values: npt.NDArray[Any]) -> str:
    """Compute the digest of the values of an array, which does not depend on the library that stores them."""
    return digest(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
