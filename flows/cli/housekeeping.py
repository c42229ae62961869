"""What is in a workspace, which configurations need it, and what can go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flows.compare.variants import segmenter_variants
from flows.execution.plan import find_job, stages_up_to
from flows.settings import Settings
from storage import Checkpoint, CheckpointDamagedError, Manifest, StorageError, Workspace
from storage.stores.store import StoredFile

# A run writes a shard, or the state of its training, far more often than this.
_BEING_WRITTEN = timedelta(hours=1)


@dataclass(frozen=True)
class Entry:
    """A checkpoint as it is.

    Attributes:
        checkpoint: it.
        manifest: None where there is none, or none that can be read.
        state: ``complete``, ``begun``; ``empty``, without a manifest; ``damaged``, with one that is not what
            was written; ``newer``, written by a newer version.
        images: finished, of all; 0 of 0 where it has none.
        size: bytes of its files.
        age: since the last write.

    """

    checkpoint: Checkpoint
    manifest: Manifest | None
    state: str
    images: tuple[int, int]
    size: int
    age: timedelta

    @property
    def key(self) -> str:
        return self.checkpoint.key

    @property
    def inputs(self) -> set[str]:
        """Keys of the checkpoints that it was made of."""
        return set() if self.manifest is None else set(self.manifest.inputs.values())

    @property
    def being_written(self) -> bool:
        """It is not complete, and somebody wrote to it within the last hour."""
        return self.state != "complete" and self.age < _BEING_WRITTEN


def entries(workspace: Workspace) -> list[Entry]:
    """Every checkpoint of a workspace that holds a file, by stage and key."""
    found = ((checkpoint, checkpoint.stored_files()) for checkpoint in workspace.checkpoints())
    return [_entry(checkpoint, files) for checkpoint, files in found if files]


def readers(found: Iterable[Entry]) -> dict[str, Counter[str]]:
    """For the key of each checkpoint that was read: how many checkpoints of each stage were made of it."""
    counts: dict[str, Counter[str]] = {}
    for entry in found:
        for key in entry.inputs:
            counts.setdefault(key, Counter())[entry.checkpoint.stage] += 1
    return counts


def needed_keys(settings: Settings) -> tuple[set[str], bool]:
    """What ``dcn run`` and ``dcn compare`` read and write with these settings.

    Returns:
        Keys, and whether they are all: those after the index are not known before the data set, as it is now,
        is indexed.

    """
    job = find_job(settings)
    keys = set(job.keys.values())
    for variant in segmenter_variants(settings):
        keys.update(find_job(variant.settings, "evaluate").keys.values())
    return keys, set(job.keys) == set(stages_up_to(None, job.settings))


def kept_keys(found: list[Entry], needed: set[str]) -> set[str]:
    """What stays when only some keys are needed.

    What is being written stays, with all that it was made of, and a comparison stays while all that it
    compares does.
    """
    inputs = {entry.key: entry.inputs for entry in found}
    kept = set(needed)
    reached = [entry.key for entry in found if entry.being_written]
    while reached:
        key = reached.pop()
        kept.add(key)
        reached.extend(inputs.get(key, set()) - kept)
    compared = {entry.key for entry in found if entry.checkpoint.stage == "compare" and entry.inputs}
    return kept | {key for key in compared if inputs[key] <= kept}


def _entry(checkpoint: Checkpoint, files: list[StoredFile]) -> Entry:
    manifest = None
    try:
        manifest = checkpoint.read_manifest()
        state = "empty" if manifest is None else "complete" if manifest.complete else "begun"
    except CheckpointDamagedError:
        state = "damaged"
    except StorageError:
        state = "newer"
    images = (0, 0)
    if manifest is not None and manifest.rows:
        ranges = [manifest.shard_range(shard) for shard in checkpoint.missing_shards(manifest)]
        images = manifest.rows - sum(stop - start for start, stop in ranges), manifest.rows
    age = datetime.now(UTC) - max(file.modified for file in files)
    return Entry(checkpoint, manifest, state, images, sum(file.size for file in files), age)
