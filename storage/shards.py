"""The shards of a checkpoint: their rows in the arrays, and the record that makes a shard a finished one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from storage.arrays import delete_shard, write_rows
from storage.errors import CheckpointDamagedError
from storage.manifest import Manifest
from storage.sealed import seal, unseal
from storage.stores.store import Store

_NAME = re.compile(r"shards/([0-9]+)\.json")
# Number of records that are read together, because an object store answers slowly but handles many requests.
_RECORDS_AT_ONCE = 16


@dataclass(frozen=True)
class ShardRecord:
    """The record of a finished shard.

    Attributes:
        shard: number of the shard.
        seconds: duration of its computation.
        digests: digest of its values in each array.
        info: JSON that the stage keeps about the images of the shard.

    """

    shard: int
    seconds: float
    digests: dict[str, str]
    info: dict[str, Any]


class Shards:
    """The folder ``shards`` of a checkpoint with the records, and the rows in ``arrays`` that belong to them.

    Args:
        store: folder of the checkpoint.

    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def missing(self, manifest: Manifest) -> list[int]:
        """List the shards without a record, in order."""
        names = (_NAME.fullmatch(file.name) for file in self._store.list("shards"))
        done = {int(name[1]) for name in names if name}
        return [shard for shard in range(manifest.num_shards) if shard not in done]

    def missing_bytes(self, manifest: Manifest) -> int:
        """Size of the arrays of the shards without a record, without checksums and indices."""
        row_bytes = sum(spec.row_bytes for spec in manifest.arrays)
        return row_bytes * manifest.count_rows(self.missing(manifest))

    def has(self, shard: int) -> bool:
        """Whether a shard is finished."""
        return self._store.exists(_record_name(shard))

    def write(
        self,
        manifest: Manifest,
        shard: int,
        arrays: Mapping[str, npt.NDArray[Any]],
        info: Mapping[str, Any],
        seconds: float,
    ) -> ShardRecord:
        """Write the rows of a shard, and then its record. See :meth:`storage.Checkpoint.write_shard`."""
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
        self._store.write(_record_name(shard), seal(asdict(record)))
        return record

    def record(self, shard: int) -> ShardRecord:
        """Read the record of a finished shard.

        Raises:
            CheckpointDamagedError: the record is missing, or is not what was written.

        """
        place = f"{self._store.location}/{_record_name(shard)}"
        try:
            record = ShardRecord(**unseal(json.loads(self._store.read(_record_name(shard)))))
        except FileNotFoundError as error:
            raise CheckpointDamagedError(f"shard {shard} of {self._store.location} has no record") from error
        except CheckpointDamagedError as error:
            raise CheckpointDamagedError(f"{place}, the record of shard {shard}, {error.args[0]}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointDamagedError(f"{place} is no record of shard {shard}: {error}") from error
        if record.shard != shard:
            raise CheckpointDamagedError(f"{place} is the record of shard {record.shard}, not of {shard}")
        return record

    def records(self, manifest: Manifest) -> Iterator[ShardRecord]:
        """Read the records of all shards, in order."""
        with ThreadPoolExecutor(_RECORDS_AT_ONCE) as pool:
            for first in range(0, manifest.num_shards, _RECORDS_AT_ONCE):
                last = min(manifest.num_shards, first + _RECORDS_AT_ONCE)
                yield from pool.map(self.record, range(first, last))

    def delete(self, manifest: Manifest, shard: int) -> None:
        """Delete the record of a shard, and then its rows."""
        self._store.delete(_record_name(shard))
        for spec in manifest.arrays:
            delete_shard(self._store, f"arrays/{spec.name}", spec, shard)


def _record_name(shard: int) -> str:
    return f"shards/{shard:06d}.json"
