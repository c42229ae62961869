"""Which checkpoints a configuration addresses, and which of them are there."""

from __future__ import annotations

from dataclasses import dataclass

from flows.settings import Settings
from flows.stage import Job, Stage
from flows.stages.embed import EmbedStage
from flows.stages.evaluate import EvaluateStage
from flows.stages.extract import ExtractStage
from flows.stages.index import IndexStage
from flows.stages.language import LanguageStage
from flows.stages.report import ReportStage
from flows.stages.segment import SegmentStage
from flows.stages.train import TrainStage
from storage import Manifest, Workspace, content_key

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        IndexStage(),
        ExtractStage(),
        TrainStage(),
        SegmentStage(),
        EmbedStage(),
        LanguageStage(),
        EvaluateStage(),
        ReportStage(),
    )
}


@dataclass(frozen=True)
class StageState:
    """A stage of a run as the workspace has it.

    Attributes:
        stage: its name.
        key: its address; None while the content of the data set is not known yet.
        manifest: None where it was never begun.
        missing_shards: shards that are still to be computed.

    """

    stage: str
    key: str | None
    manifest: Manifest | None
    missing_shards: int

    @property
    def state(self) -> str:
        """``complete``, ``begun`` or ``missing``."""
        if self.manifest is None:
            return "missing"
        return "complete" if self.manifest.complete else "begun"


def find_job(settings: Settings, stage: str | None = None) -> Job:
    """Resolve settings, and address the checkpoints of a stage and of all before it.

    The keys end where one needs the content of a data set that was not indexed yet.

    Args:
        settings: as the user gave them.
        stage: the last stage; None for all.

    """
    settings = settings.resolve()
    workspace = Workspace(settings.workspace)
    keys: dict[str, str] = {}
    identities: dict[str, str] = {}
    for name in stages_up_to(stage, settings):
        definition = STAGES[name]
        reads = definition.inputs(settings)
        if any(read not in identities for read in reads):
            break
        inputs = {read: identities[read] for read in reads}
        keys[name] = content_key(
            {
                "stage": name,
                "version": definition.version,
                "settings": definition.settings(settings),
                "inputs": inputs,
            }
        )
        if name != "index":
            identities[name] = keys[name]
            continue
        manifest = workspace.checkpoint(name, keys[name]).read_manifest()
        if manifest is not None and manifest.complete:
            identities[name] = definition.identity(manifest)
    return Job(settings, keys)


def stages_up_to(stage: str | None, settings: Settings) -> list[str]:
    """Names of the stages that ``stage`` needs, in order, its own the last; None: all that a page needs."""
    needed = {stage or "report"}
    for name in reversed(STAGES):  # a stage reads only stages before it
        if name in needed:
            needed.update(STAGES[name].inputs(settings))
    return [name for name in STAGES if name in needed]


def states(settings: Settings) -> list[StageState]:
    """Every stage of a run as the workspace has it. Computes nothing."""
    job = find_job(settings)
    result = []
    for name in stages_up_to(None, settings):
        if name not in job.keys:
            result.append(StageState(name, None, None, 0))
            continue
        checkpoint = job.checkpoint(name)
        manifest = checkpoint.read_manifest()
        missing = len(checkpoint.missing_shards(manifest)) if manifest and not manifest.complete else 0
        result.append(StageState(name, job.keys[name], manifest, missing))
    return result
