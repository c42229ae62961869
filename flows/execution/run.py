"""Run one stage: compute the missing shards of its checkpoint, and then everything that needs all shards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from flows import progress
from flows.errors import StoppedError
from flows.execution.plan import STAGES
from flows.printable import printable_line
from flows.stage import Job, Layout, Warn
from storage import Checkpoint, Manifest

# Runs the given shards of a stage, anywhere.
RunShards = Callable[[Job, str, list[int]], object]
# Runs one named part of a stage, and repeats it after a transient error.
Attempt = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]
_MAX_WARNINGS = 100
_SOFTWARE = ("dynamic-clustering-network", "torch", "timm", "zarr", "tensorstore", "numpy", "scikit-learn")


@dataclass(frozen=True)
class StageResult:
    """Result of running a stage.

    Attributes:
        stage: name of the stage.
        reused: the checkpoint was complete before, so nothing was computed.
        manifest: manifest of the complete checkpoint.

    """

    stage: str
    reused: bool
    manifest: Manifest

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the content of the checkpoint."""
        return self.manifest.warnings


def run_stage(
    job: Job,
    stage: str,
    run_shards: RunShards,
    warn: Warn,
    say: Warn = lambda _: None,
    attempt: Attempt = lambda _, work: work(),
) -> StageResult:
    """Complete a stage's checkpoint. Its inputs must be complete.

    Args:
        job: job that has the key of the stage.
        stage: name of the stage.
        run_shards: runs the missing shards.
        warn: receives each warning at once.
        say: receives messages about the next step.
        attempt: runs the parts of the stage before and after the shards.

    Raises:
        CheckpointMissingError: an input is not complete.
        NoSpaceError: the disk has less room than the stage needs.

    """
    definition, checkpoint = STAGES[stage], job.checkpoint(stage)
    manifest = checkpoint.read_manifest()
    if manifest is not None and manifest.complete:
        for message in manifest.warnings:
            warn(printable_line(message))
        _close(job, manifest, say)
        return StageResult(stage, True, manifest)
    warnings: dict[str, None] = {}  # a set that keeps the order

    def note(message: str) -> None:
        message = printable_line(message)  # it contains names of files
        if message in warnings:  # every attempt repeats it
            return
        warnings[message] = None
        if len(warnings) <= _MAX_WARNINGS:
            warn(message)

    def begin() -> dict[str, Any]:
        layout = definition.layout(job)
        extra, temporary = layout.extra_bytes, layout.temporary_bytes
        begun = checkpoint.begin(_new_manifest(job, stage, layout), extra + temporary)
        size = checkpoint.missing_bytes(begun) + extra
        if size:
            meanwhile = f", and meanwhile up to {temporary / 1e6:,.1f} MB more" if temporary else ""
            say(f"{stage} is going to write {size / 1e6:,.1f} MB to {checkpoint.location}{meanwhile}")
        definition.prepare(job)
        return {}

    began = time.monotonic()
    try:
        attempt("begin", begin)
        manifest = checkpoint.require_begun()
        missing = checkpoint.missing_shards(manifest)
        if missing:
            progress.start(stage, manifest.rows, manifest.rows - manifest.count_rows(missing))
            run_shards(job, stage, missing)
        begun = manifest
        summary = attempt("rest", lambda: definition.complete(job, begun, note))
        _delete_outdated(checkpoint, job, note)
        shortened = _shortened(list(warnings))
        if len(warnings) > _MAX_WARNINGS:
            warn(shortened[-1])
        manifest = checkpoint.finish(summary, time.monotonic() - began, shortened)
        progress.end(stage)
    except BaseException:
        checkpoint.add_seconds(time.monotonic() - began)
        raise
    _close(job, manifest, say)
    return StageResult(stage, False, manifest)


def _close(job: Job, manifest: Manifest, say: Warn) -> None:
    closing = STAGES[manifest.stage].closing(job, manifest)
    if closing:
        say(f"{manifest.stage} {closing}")


def _delete_outdated(checkpoint: Checkpoint, job: Job, note: Warn) -> None:
    """Delete the checkpoints that were made from another content of this one, before it becomes complete.

    The same machine computes the same content again. Another machine, or another version of a library, may
    not, and a workspace must not mix the two.
    """
    manifest = checkpoint.require_begun()
    for outdated in job.workspace.made_of_other(checkpoint.key, checkpoint.content_digest(manifest)):
        note(
            f"{checkpoint.stage}/{checkpoint.key} was computed again and is not what it was before, so "
            f"{outdated.stage}/{outdated.key}, which was made of it, is deleted and will be computed again"
        )
        outdated.delete()


def _shortened(warnings: list[str]) -> list[str]:
    """Keep the first warnings, so that the manifest stays small if most of a data set is unreadable."""
    more = len(warnings) - _MAX_WARNINGS
    return [*warnings[:_MAX_WARNINGS], f"and {more} more"] if more > 0 else warnings


def compute_shards(
    job: Job, stage: str, shards: list[int], stopped: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Compute and record shards one after the other in this process.

    Args:
        job: the run.
        stage: name of the stage.
        shards: their numbers.
        stopped: asked before every shard; True ends the work.

    Returns:
        A record for logs: stage, shards and seconds.

    Raises:
        StoppedError: ``stopped`` returned True. A shard that was computed is recorded.

    """
    definition, checkpoint = STAGES[stage], job.checkpoint(stage)
    manifest = checkpoint.require_begun()
    seconds = 0.0
    # One shard is written while the next is computed. A failed write is raised after the computation, whether
    # that fails or not. If a computation fails, the write in progress still finishes.
    with ThreadPoolExecutor(1) as writer:
        writing: Future[Any] | None = None
        try:
            # A random order, so that two runs on one workspace share the work instead of doing it twice.
            for done, shard in enumerate(random.sample(shards, len(shards))):
                if stopped():
                    raise StoppedError(f"{len(shards) - done} shards of {stage} were not begun")
                if checkpoint.has_shard(shard):  # from another run, or another attempt of the same task
                    start, stop = manifest.shard_range(shard)
                    progress.advance(stage, stop - start)
                    continue
                began = time.monotonic()
                result = definition.compute_shard(job, manifest, shard)
                taken = time.monotonic() - began
                if writing is not None:
                    writing.result()
                writing = writer.submit(
                    checkpoint.write_shard, manifest, shard, result.arrays, result.info, taken
                )
                seconds += taken
        finally:
            if writing is not None:
                writing.result()
    return {"stage": stage, "shards": shards, "seconds": round(seconds, 3)}


def _new_manifest(job: Job, stage: str, layout: Layout) -> Manifest:
    definition = STAGES[stage]
    reads = {read: job.checkpoint(read) for read in definition.inputs(job.settings)}
    return Manifest(
        stage=stage,
        key=job.checkpoint(stage).key,
        settings=definition.settings(job.settings),
        inputs={read: found.key for read, found in reads.items()},
        made_of={found.key: found.require().content for found in reads.values()},
        rows=layout.rows,
        shard_rows=layout.shard_rows,
        arrays=layout.arrays,
        provenance={"software": {name: version(name) for name in _SOFTWARE}, "listing": job.listing},
    )
