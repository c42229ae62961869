"""The checkpoints of a workspace: their state, which are needed, and which can be deleted."""

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

# A run writes a shard or its training state far more often than this.
_BEING_WRITTEN = timedelta(hours=1)


@dataclass(frozen=True)
class Entry:
    """A checkpoint of a workspace and its state.

    Attributes:
        checkpoint: the checkpoint.
        manifest: its manifest; None if it is missing or cannot be read.
        state: ``complete``; ``begun``; ``empty``, without a manifest; ``damaged``, with a manifest that
            differs from what was written; ``newer``, written by a newer version.
        images: number of finished images, and of all; 0 and 0 for a checkpoint without images.
        size: size of its files in bytes.
        age: time since the last write.

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
        """Keys of the checkpoints that it reads."""
        return set() if self.manifest is None else set(self.manifest.inputs.values())

    @property
    def being_written(self) -> bool:
        """Whether it is incomplete and was written to within the last hour."""
        return self.state != "complete" and self.age < _BEING_WRITTEN


def entries(workspace: Workspace) -> list[Entry]:
    """List the checkpoints of a workspace that hold a file, sorted by stage and key."""
    found = ((checkpoint, checkpoint.stored_files()) for checkpoint in workspace.checkpoints())
    return [_entry(checkpoint, files) for checkpoint, files in found if files]


def readers(found: Iterable[Entry]) -> dict[str, Counter[str]]:
    """Count the readers of each checkpoint: for its key, the number of checkpoints of each stage."""
    counts: dict[str, Counter[str]] = {}
    for entry in found:
        for key in entry.inputs:
            counts.setdefault(key, Counter())[entry.checkpoint.stage] += 1
    return counts


def needed_keys(settings: Settings) -> tuple[set[str], bool]:
    """Find the checkpoints that ``dcn run`` and ``dcn compare`` read and write with these settings.

    Returns:
        Their keys, and whether these are all. The keys of the stages after the index are unknown until the
        data set is indexed in its present state.

    """
    job = find_job(settings)
    keys = set(job.keys.values())
    for variant in segmenter_variants(settings):
        keys.update(find_job(variant.settings, "evaluate").keys.values())
    return keys, set(job.keys) == set(stages_up_to(None, job.settings))


def kept_keys(found: list[Entry], needed: set[str]) -> set[str]:
    """Find the checkpoints that must stay if only the needed ones are kept.

    A checkpoint that is being written stays, and so do all that it reads. A comparison stays if everything
    that it compares stays.

    Args:
        found: all checkpoints of the workspace.
        needed: keys of the needed checkpoints.

    Returns:
        Keys of the checkpoints that must stay.

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
        missing = manifest.count_rows(checkpoint.missing_shards(manifest))
        images = manifest.rows - missing, manifest.rows
    age = datetime.now(UTC) - max(file.modified for file in files)
    return Entry(checkpoint, manifest, state, images, sum(file.size for file in files), age)
