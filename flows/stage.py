"""What a stage is, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy.typing as npt

from flows.errors import DatasetChangedError
from flows.settings import Settings
from storage import ArraySpec, Checkpoint, Manifest, Workspace

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One run of a configuration: resolved settings, and the keys of the checkpoints that they address.

    JSON-able through :meth:`to_json`, so that a worker on another machine can be given it.
    """

    settings: Settings
    keys: Mapping[str, str]

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.settings.workspace)

    def checkpoint(self, stage: str) -> Checkpoint:
        """The checkpoint of a stage in this run.

        Raises:
            DatasetChangedError: its key is not known, for the data set changed after its index was read.

        """
        if stage not in self.keys:
            raise DatasetChangedError(
                f"the data set changed while it was read, so {stage} has no checkpoint yet; run this again"
            )
        return self.workspace.checkpoint(stage, self.keys[stage])

    def to_json(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(mode="json"), "keys": dict(self.keys)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Job:
        return cls(Settings.model_validate(value["settings"]), value["keys"])


@dataclass(frozen=True)
class Layout:
    """What a stage is going to write.

    Attributes:
        rows: images, cut into shards.
        shard_rows: images in a shard.
        arrays: written shard by shard.
        extra_bytes: what is written beside them, an estimate.

    """

    rows: int = 0
    shard_rows: int = 1
    arrays: tuple[ArraySpec, ...] = ()
    extra_bytes: int = 0


@dataclass(frozen=True)
class ShardResult:
    """Rows of one shard, and what is to be said about its images (JSON)."""

    arrays: dict[str, npt.NDArray[Any]]
    info: dict[str, Any] = field(default_factory=dict)


class Stage(ABC):
    """A stage of the pipeline: shards that know nothing of each other, and then the rest.

    Attributes:
        name: of its folder in the workspace.
        version: raised when the same settings would give another content.

    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def inputs(self, settings: Settings) -> tuple[str, ...]:
        """The stages that it reads, in order. Most do not depend on the settings."""

    @abstractmethod
    def settings(self, settings: Settings) -> dict[str, Any]:
        """Those settings that change the content of its checkpoint, and no others. JSON."""

    @abstractmethod
    def layout(self, job: Job) -> Layout:
        """What it is going to write."""

    def prepare(self, job: Job) -> None:  # noqa: B027 - most stages have nothing to prepare
        """Write what all shards need, whenever the stage is not complete: a damaged file comes back, too."""

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        """Compute one shard, in any process of any machine."""
        raise NotImplementedError(f"{self.name} has no shards")

    @abstractmethod
    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        """After the last shard: do the rest, and return the figures for the manifest's summary."""

    def identity(self, manifest: Manifest) -> str:
        """What the keys of the stages that read it contain."""
        return manifest.key


def warn_of_refused(checkpoint: Checkpoint, manifest: Manifest, what: str, warn: Warn) -> int:
    """Say of every file that the shards refused what became of it, and why; returns their number."""
    count = 0
    for record in checkpoint.records(manifest):
        for entry in record.info["refused"]:
            count += 1
            warn(f"{entry['file']} {what}: {entry['reason']}")
    return count
