"""The checkpoints that a configuration addresses, and the state of each."""

from __future__ import annotations

from dataclasses import dataclass

from flows.execution.keys import stage_key
from flows.settings import Settings
from flows.stage import Job, Stage
from flows.stages import STAGE_TABLE
from flows.stages.index import listing_digest
from storage import Manifest, Workspace

STAGES: dict[str, Stage] = {entry.name: entry.load() for entry in STAGE_TABLE}


@dataclass(frozen=True)
class StageState:
    """State of a stage of a run in the workspace.

    Attributes:
        stage: name of the stage.
        key: key of its checkpoint; None while the content of the data set is unknown.
        manifest: manifest of its checkpoint; None if it was never begun.
        missing_images: number of images whose shards are not computed yet.

    """

    stage: str
    key: str | None
    manifest: Manifest | None
    missing_images: int

    @property
    def state(self) -> str:
        """``complete``, ``begun`` or ``missing``."""
        if self.manifest is None:
            return "missing"
        return "complete" if self.manifest.complete else "begun"


def find_job(settings: Settings, stage: str | None = None, listing: str | None = None) -> Job:
    """Resolve settings, and find the keys of a stage and of all stages before it.

    If the data set is not indexed yet, the keys end before the first stage that needs its content.

    Args:
        settings: settings as the user gave them.
        stage: the last stage; None for all stages.
        listing: digest of the listing of the data set, if a job of the same run has it already
            (:attr:`Job.listing`); None lists the data set. Flows that call each other hand it on, so that all
            address one data set as it was when the outermost flow began.

    """
    settings = settings.resolve()
    listing = listing or listing_digest(settings.dataset)
    workspace = Workspace(settings.workspace)
    keys: dict[str, str] = {}
    identities: dict[str, str] = {}
    for name in stages_up_to(stage, settings):
        definition = STAGES[name]
        reads = definition.inputs(settings)
        if any(read not in identities for read in reads):
            break
        inputs = {read: identities[read] for read in reads}
        if name == "index":
            inputs["listing"] = listing
        keys[name] = stage_key(definition, settings, inputs)
        if name != "index":
            identities[name] = keys[name]
            continue
        manifest = workspace.checkpoint(name, keys[name]).read_manifest()
        if manifest is not None and manifest.complete:
            identities[name] = definition.identity(manifest)
    return Job(settings, keys, listing)


def stages_up_to(stage: str | None, settings: Settings) -> list[str]:
    """Names of a stage and of all stages that it needs, in order; None: all stages that the report needs."""
    needed = {stage or "report"}
    for name in reversed(STAGES):  # a stage reads only stages before it
        if name in needed:
            needed.update(STAGES[name].inputs(settings))
    return [name for name in STAGES if name in needed]


def states(settings: Settings) -> list[StageState]:
    """Look up the state of every stage of a run. Computes nothing."""
    job = find_job(settings)
    result = []
    for name in stages_up_to(None, settings):
        if name not in job.keys:
            result.append(StageState(name, None, None, 0))
            continue
        checkpoint = job.checkpoint(name)
        manifest = checkpoint.read_manifest()
        missing = 0
        if manifest is not None and not manifest.complete:
            missing = manifest.count_rows(checkpoint.missing_shards(manifest))
        result.append(StageState(name, job.keys[name], manifest, missing))
    return result
