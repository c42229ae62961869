"""The model of a run: its network, how its stages make regions of tokens, and its classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dcn.model_description import (
    ClassDescription,
    EmbeddingDescription,
    HeadDescription,
    RegionRules,
)
from dcn.model_file import StoredModel, read_model
from flows.errors import FlowError
from flows.evaluation.named_classes import named_classes
from flows.evaluation.protocols.distilled import DISTILLED_CLASS_OF_CLUSTER
from flows.evaluation.protocols.kmeans import CENTERS, CLASS_OF_CLUSTER
from flows.execution.plan import find_job
from flows.inputs.class_head import describe_head, load_head
from flows.inputs.region_embeddings import find_region_whitening
from flows.inputs.summaries import IndexSummary
from flows.settings import Settings
from flows.stage import Job
from flows.stages.crop_embeddings import embedding_settings
from storage import Checkpoint, CheckpointMissingError, Manifest, Workspace


def model_of_run(settings: Settings) -> StoredModel:
    """Read the model that a configuration trained.

    The classes come from ``evaluate``. If that stage is not complete, the model knows no classes.

    Args:
        settings: settings of the run.

    Raises:
        CheckpointMissingError: the network is not trained yet.
        FlowError: the segmenter of the run has no network.

    """
    job = find_job(settings)
    segmenter = job.settings.segment.segmenter
    if not segmenter.trained:
        raise FlowError(
            f"the run segments by {segmenter.name}, which has no network, and a model is a network; choose "
            f"segment.segmenter dcn"
        )
    if "train" not in job.keys:
        raise CheckpointMissingError(
            f"the workspace {job.workspace.location} has no network that was trained on these photographs",
            "run",
        )
    rules = job.settings.segment.model_dump(mode="json")
    return _read(job, rules, embedding_settings(job.settings))


def model_of_training(trained: Checkpoint, workspace: Workspace) -> StoredModel:
    """Read the model of a checkpoint of ``train``, with the classes of the newest evaluation of its regions.

    Args:
        trained: checkpoint of ``train``.
        workspace: the workspace that it is in.

    Raises:
        CheckpointMissingError: the training is not complete.
        CheckpointDamagedError: a file is not what was written.

    """
    trained.require()
    manifests = [found for found in map(Checkpoint.read_manifest, workspace.checkpoints()) if found]
    segment = _newest(manifests, "segment", "train", trained.key)
    evaluate = _newest(manifests, "evaluate", "segment", segment.key) if segment else None
    keys = {"train": trained.key}
    embed = None
    if evaluate is not None:
        keys |= {"evaluate": evaluate.key, **evaluate.inputs}
        embed = workspace.checkpoint("embed", keys["embed"]).require().settings
    job = Job(Settings(workspace=workspace.location), keys, listing="")
    return _read(job, segment.settings if segment else None, embed)


def _newest(manifests: list[Manifest], stage: str, read: str, key: str) -> Manifest | None:
    """Find the newest complete checkpoint of a stage that was made of ``key`` of the stage ``read``."""
    found = [one for one in manifests if one.complete and one.stage == stage and one.inputs.get(read) == key]
    return max(found, key=lambda manifest: manifest.created, default=None)


def _read(job: Job, segment: dict[str, Any] | None, embed: dict[str, Any] | None) -> StoredModel:
    """Read network, classes and head of a job.

    Args:
        job: a job with the keys of ``train``, and of ``evaluate`` and ``index`` if there is an evaluation.
        segment: settings of the stage ``segment``; None takes the defaults of the backbone.
        embed: settings of the stage ``embed``; None takes the defaults of the backbone.

    """
    trained = job.checkpoint("train")
    trained.require()
    stored = read_model(trained.read_file("dcn.safetensors"), trained.file_location("dcn.safetensors"))
    described: dict[str, Any] = {}
    if segment is not None:
        rules = {name: segment[name] for name in RegionRules.model_fields if name in segment}
        described["regions"] = RegionRules.model_validate(rules)
    if embed is not None:
        known = {name: embed[name] for name in EmbeddingDescription.model_fields if name in embed}
        described["embedding"] = EmbeddingDescription.model_validate(known)
    centers = whitening = head = None
    if "evaluate" in job.keys and _is_complete(job.checkpoint("evaluate")):
        evaluated = job.checkpoint("evaluate")
        centers = evaluated.read_values(CENTERS)
        whitening = find_region_whitening(job)
        if evaluated.require().settings.get("background") == "none" and "regions" in described:
            described["regions"] = described["regions"].model_copy(update={"background": "none"})
        if "distill" in job.keys:
            head, described["head"] = load_head(job), _described_head(job, evaluated)
        described["classes"] = ClassDescription(
            matched=tuple(evaluated.read_values(CLASS_OF_CLUSTER).tolist()),
            named=named_classes(job),
            palette=IndexSummary.read(job).palette,
        )
    description = stored.description.model_copy(update=described)
    return replace(stored, description=description, class_centers=centers, whitening=whitening, head=head)


def _described_head(job: Job, evaluated: Checkpoint) -> HeadDescription:
    """Describe the head with the classes of its clusters. Without labels they are the clusters themselves."""
    described = describe_head(job)
    if not evaluated.has_file(DISTILLED_CLASS_OF_CLUSTER):
        return described
    matched = evaluated.read_values(DISTILLED_CLASS_OF_CLUSTER).tolist()
    return described.model_copy(update={"matched": tuple(matched)})


def _is_complete(evaluated: Checkpoint) -> bool:
    """Whether an evaluation is complete, and was made by a version that keeps the centers of the classes."""
    manifest = evaluated.read_manifest()
    return manifest is not None and manifest.complete and evaluated.has_file(CENTERS)
