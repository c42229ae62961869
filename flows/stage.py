"""The interface of a stage, and the job that it works on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy.typing as npt

from flows.errors import DatasetChangedError
from flows.settings import Settings
from storage import ArraySpec, Checkpoint, Manifest, Workspace

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One run of a configuration: its settings, and the checkpoints that they address.

    A job opens its workspace once and reads the manifest of a complete checkpoint once. A repair or another
    run may change a checkpoint later, so a job lives no longer than one stage: every flow makes a new one
    with :func:`flows.execution.plan.find_job`. :meth:`to_json` sends a job to a worker on another machine.
    The worker opens the workspace itself; it never lists the data set.

    Attributes:
        settings: resolved.
        keys: key of the checkpoint of each stage. Stages after ``index`` are missing until it is complete.
        listing: digest of the listing of the data set, from which the key of ``index`` was made.

    """

    settings: Settings
    keys: Mapping[str, str]
    listing: str
    _checkpoints: dict[str, Checkpoint] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace(self.settings.workspace)

    def checkpoint(self, stage: str) -> Checkpoint:
        """Return the checkpoint of a stage in this run, the same object every time.

        Raises:
            DatasetChangedError: its key is unknown, because the data set changed after its index was read.

        """
        if stage not in self.keys:
            raise DatasetChangedError(
                f"the data set changed while it was read, so {stage} has no checkpoint yet; run this again"
            )
        if stage not in self._checkpoints:
            self._checkpoints[stage] = self.workspace.checkpoint(stage, self.keys[stage])
        return self._checkpoints[stage]

    def to_json(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(mode="json"),
            "keys": dict(self.keys),
            "listing": self.listing,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Job:
        return cls(Settings.model_validate(value["settings"]), value["keys"], value["listing"])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the JSON: another process opens the workspace itself."""
        return Job.from_json, (self.to_json(),)


@dataclass(frozen=True)
class Layout:
    """Sizes of everything that a stage is going to write.

    Attributes:
        rows: number of images.
        shard_rows: number of images in a shard.
        arrays: arrays that are written shard by shard.
        extra_bytes: estimated size of its files beside the arrays.
        temporary_bytes: largest size of files that the stage deletes again, on top of all others.

    """

    rows: int = 0
    shard_rows: int = 1
    arrays: tuple[ArraySpec, ...] = ()
    extra_bytes: int = 0
    temporary_bytes: int = 0


@dataclass(frozen=True)
class ShardResult:
    """Result of one shard.

    Attributes:
        arrays: rows of every array of the layout.
        info: JSON about the images of the shard; it is kept in the record of the shard.

    """

    arrays: dict[str, npt.NDArray[Any]]
    info: dict[str, Any] = field(default_factory=dict)


class Stage(ABC):
    """A stage of the pipeline: independent shards, and then everything that needs all of them.

    Import PyTorch and other heavy libraries inside of methods: ``dcn status`` imports this class.

    Attributes:
        name: name of the stage, and of its folder in the workspace.
        version: raise it when the computation or a default of :meth:`settings` changes, because the key alone
            would not show it.
        always_in_key: settings that are part of the key even at their default, such as the name of the
            backbone or the digest of a template.

    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    always_in_key: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def inputs(self, settings: Settings) -> tuple[str, ...]:
        """Name the stages that this stage reads, in order. Most do not depend on the settings."""

    @abstractmethod
    def settings(self, settings: Settings) -> dict[str, Any]:
        """Select the settings that change the content of the checkpoint, and no others, as JSON.

        The manifest lists all of them; the key holds those that differ from their defaults
        (:func:`flows.execution.keys.stage_key`).
        """

    @abstractmethod
    def layout(self, job: Job) -> Layout:
        """Say what the stage is going to write."""

    def prepare(self, job: Job) -> None:  # noqa: B027 - most stages have nothing to prepare
        """Write the files that all shards read. Runs if the stage is incomplete, so lost files come back."""

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        """Compute one shard. Runs in any process of any machine."""
        raise NotImplementedError(f"{self.name} has no shards")

    @abstractmethod
    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        """Finish the stage after its last shard; returns the summary of the manifest."""

    def remark(self, manifest: Manifest) -> str:
        """Say what ``dcn status`` adds about a complete checkpoint, in a few words; empty for most stages."""
        return ""

    def closing(self, job: Job, manifest: Manifest) -> str:
        """Say what a run says when the stage is complete, in a few words; empty for most stages."""
        return ""

    def identity(self, manifest: Manifest) -> str:
        """Identify the content of a complete checkpoint in the keys of the stages that read it."""
        return manifest.key


def warn_of_refused(checkpoint: Checkpoint, manifest: Manifest, what: str, warn: Warn) -> int:
    """Warn of every file that the shards refused, and return their number.

    Args:
        checkpoint: all its shards are finished.
        manifest: manifest of the checkpoint.
        what: the consequence for the file, such as ``was left out``.
        warn: receives the warnings.

    """
    count = 0
    for record in checkpoint.records(manifest):
        for entry in record.info["refused"]:
            count += 1
            warn(f"{entry['file']} {what}: {entry['reason']}")
    return count
