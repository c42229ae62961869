"""That a shard is finished: a file that is written after its values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from storage.errors import CheckpointDamagedError
from storage.sealed import seal, unseal
from storage.stores.store import Store

_NAME = re.compile(r"shards/([0-9]+)\.json")


@dataclass(frozen=True)
class ShardRecord:
    """That a shard is finished.

    Attributes:
        shard: its number.
        seconds: how long it took.
        digests: of the values of each array.
        info: what the stage has to say about its images, JSON.

    """

    shard: int
    seconds: float
    digests: dict[str, str]
    info: dict[str, Any]


def write_record(store: Store, record: ShardRecord) -> None:
    """Write the record, which makes its shard a finished one."""
    store.write(record_name(record.shard), seal(asdict(record)))


def read_record(store: Store, shard: int) -> ShardRecord:
    """The record of a finished shard.

    Raises:
        CheckpointDamagedError: the record is gone, or is not what was written.

    """
    place = f"{store.location}/{record_name(shard)}"
    try:
        record = ShardRecord(**unseal(json.loads(store.read(record_name(shard)))))
    except FileNotFoundError as error:
        raise CheckpointDamagedError(f"shard {shard} of {store.location} has no record") from error
    except CheckpointDamagedError as error:
        raise CheckpointDamagedError(f"{place}, the record of shard {shard}, {error.args[0]}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointDamagedError(f"{place} is no record of shard {shard}: {error}") from error
    if record.shard != shard:
        raise CheckpointDamagedError(f"{place} is the record of shard {record.shard}, not of {shard}")
    return record


def recorded_shards(store: Store) -> Iterator[int]:
    """Numbers of the shards that have a record, in any order."""
    for file in store.list("shards"):
        name = _NAME.fullmatch(file.name)
        if name:
            yield int(name[1])


def record_name(shard: int) -> str:
    """The file of the record of a shard."""
    return f"shards/{shard:06d}.json"
