"""Damage of a checkpoint: find it, and forget the damaged parts, so that the next run computes them again.

The values of a shard are compared with the digests in its record, a file with its digest in the manifest. The
record and the manifest contain digests of themselves. The metadata of an array follow from the manifest, so
repair writes them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from storage.arrays import values_digest
from storage.checkpoint import Checkpoint
from storage.errors import CheckpointDamagedError, StorageError
from storage.manifest import Manifest


@dataclass(frozen=True)
class Damage:
    """A damaged part of a checkpoint: a shard, a file, the metadata of an array, or the manifest.

    Attributes:
        checkpoint: the checkpoint. reason: what is wrong. shard: number of the damaged shard. array: with
        ``shard``, the array whose values are damaged; alone, the array whose metadata are damaged. file: name
        of the damaged file.

    """

    checkpoint: Checkpoint
    reason: str
    shard: int | None = None
    array: str | None = None
    file: str | None = None

    @property
    def place(self) -> str:
        """Stage, key, and the shard, array or file, for people."""
        named = {"shard": self.shard, "array": self.array, "file": self.file}
        parts = [f"{name} {value}" for name, value in named.items() if value is not None]
        return ", ".join([f"{self.checkpoint.stage}/{self.checkpoint.key}", *(parts or ["manifest"])])


def count_parts(checkpoint: Checkpoint) -> int:
    """Count the parts that :func:`find_damage` is going to read."""
    try:
        manifest = checkpoint.read_manifest()
    except StorageError:
        return 1
    if manifest is None:
        return 1
    return 1 + len(_shards(checkpoint, manifest)) + len(checkpoint.file_names(manifest))


def find_damage(checkpoint: Checkpoint) -> Iterator[list[Damage]]:
    """Read everything that a checkpoint says it has, and yield the damage of each part.

    The parts are the manifest with the metadata of the arrays, every shard, and every file. A missing shard
    of an incomplete checkpoint is no damage. Neither are files without a record.

    Raises:
        StorageError: a newer version of this software wrote the checkpoint.

    """
    try:
        manifest = checkpoint.read_manifest()
    except CheckpointDamagedError as error:
        yield [Damage(checkpoint, error.args[0])]
        return
    if manifest is None:
        yield []
        return
    shards, arrays = _shards(checkpoint, manifest), [spec.name for spec in manifest.arrays]
    # While no shard is finished, a run may still have to write the metadata.
    unreadable = [damage for name in arrays if shards for damage in _damage_of_metadata(checkpoint, name)]
    yield unreadable
    readable = [name for name in arrays if name not in {damage.array for damage in unreadable}]
    for shard in shards:
        yield list(_damage_of_shard(checkpoint, manifest, shard, readable))
    for name in checkpoint.file_names(manifest):
        try:
            checkpoint.read_file(name)
        except CheckpointDamagedError as error:
            yield [Damage(checkpoint, error.args[0], file=name)]
        else:
            yield []


def repair(checkpoint: Checkpoint, damages: Sequence[Damage]) -> None:
    """Forget damaged parts, so that the next run computes them and nothing else.

    If the manifest is damaged, the whole checkpoint is deleted, because nothing else describes its shards. No
    run may write to the checkpoint meanwhile.

    Args:
        checkpoint: the checkpoint.
        damages: everything that :func:`find_damage` found in it.

    """
    manifest = None
    if all(damage.shard is not None or damage.array or damage.file for damage in damages):
        manifest = checkpoint.read_manifest()
    if manifest is None:
        checkpoint.delete()
        return
    if any(damage.shard is None and damage.array for damage in damages):
        checkpoint.rewrite_metadata(manifest)
        # Now the values can be read, so look for damage again.
        damages = [damage for part in find_damage(checkpoint) for damage in part]
    shards = {damage.shard for damage in damages if damage.shard is not None}
    files = {damage.file for damage in damages if damage.file is not None}
    if shards or files:
        checkpoint.forget(manifest, sorted(shards), sorted(files))


def _shards(checkpoint: Checkpoint, manifest: Manifest) -> list[int]:
    """List the shards that the checkpoint says it has."""
    missing = set() if manifest.complete else set(checkpoint.missing_shards(manifest))
    return [shard for shard in range(manifest.num_shards) if shard not in missing]


def _damage_of_metadata(checkpoint: Checkpoint, array: str) -> Iterator[Damage]:
    try:
        checkpoint.check_metadata(array)
    except CheckpointDamagedError as error:
        yield Damage(checkpoint, error.args[0], array=array)


def _damage_of_shard(
    checkpoint: Checkpoint, manifest: Manifest, shard: int, arrays: Sequence[str]
) -> Iterator[Damage]:
    try:
        record = checkpoint.read_record(shard)
    except CheckpointDamagedError as error:
        yield Damage(checkpoint, error.args[0], shard=shard)
        return
    for name in arrays:
        try:
            values = checkpoint.array(name).rows(*manifest.shard_range(shard))
        except CheckpointDamagedError as error:
            yield Damage(checkpoint, error.args[0], shard=shard, array=name)
            continue
        if values_digest(values) != record.digests.get(name):
            yield Damage(checkpoint, "its values are not those that were recorded", shard=shard, array=name)
