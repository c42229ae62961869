"""The DAG: one Prefect flow per stage, and the pipeline that calls them.

A flow of one stage first runs those of the stages before it whose checkpoints are missing.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from prefect import Flow, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed

from flows import progress
from flows.artifacts import publish, publish_comparison
from flows.comparison import Variant, segmenter_variants
from flows.comparison_page import write_comparison
from flows.execution import compute_shards, run_stage
from flows.plan import STAGES, find_job, stages_up_to
from flows.runners import task_runner
from flows.settings import (
    BackboneSettings,
    CompareSettings,
    DatasetSettings,
    EmbedSettings,
    EvaluateSettings,
    LanguageSettings,
    ReportSettings,
    RunnerSettings,
    SegmentSettings,
    Settings,
    TrainSettings,
    WorkspaceLocation,
)
from flows.stage import Job

# What a flow says of a stage at its end: stage, key, reused, seconds, summary.
StageRecord = dict[str, Any]
SettingsFlow = Flow[..., list[StageRecord]]

_DEFAULTS = Settings()
# Tasks per worker: enough that the last ones end together, few enough that a task is worth its overhead.
_TASKS_PER_WORKER = 4


@task(cache_policy=NO_CACHE, persist_result=False)
def shard_range(job: dict[str, Any], stage: str, shards: list[int]) -> dict[str, Any]:
    """Compute some shards of a stage. What is done is on storage, so running it twice does no harm."""
    return compute_shards(Job.from_json(job), stage, shards)


def _run_shards(job: Job, stage: str, shards: list[int]) -> None:
    """A subflow of its own, because the task runner is a property of a flow and here a setting."""
    runner = job.settings.runner
    manifest = job.checkpoint(stage).read_manifest()
    assert manifest is not None
    size = math.ceil(len(shards) / (_TASKS_PER_WORKER * runner.workers))
    parts = [shards[start : start + size] for start in range(0, len(shards), size)]

    def submit_all() -> None:
        futures = {}
        for part in parts:
            named = shard_range.with_options(
                name=f"{stage} shards", task_run_name=f"{stage} {part[0]}-{part[-1]}"
            )
            futures[named.submit(job.to_json(), stage, part)] = part
        for future in as_completed(list(futures)):
            future.result()
            if runner.kind == "dask":  # its workers have no watcher
                ranges = [manifest.shard_range(shard) for shard in futures[future]]
                progress.advance(stage, sum(stop - start for start, stop in ranges))

    flow(name=f"{stage} shards", task_runner=task_runner(runner), persist_result=False)(submit_all)()


def _run_stage(stage: str, settings: Settings) -> StageRecord:
    logger = get_run_logger()
    job = find_job(settings, stage)

    def warn(message: str) -> None:
        logger.warning(message)
        progress.warn(message)

    def say(message: str) -> None:
        logger.info(message)
        progress.say(message)

    result = run_stage(job, stage, _run_shards, warn, say)
    logger.info("%s %s: %s", stage, result.manifest.key, "reused" if result.reused else "computed")
    publish(job, result)
    return {
        "stage": stage,
        "key": result.manifest.key,
        "reused": result.reused,
        "seconds": result.manifest.seconds,
        "summary": result.manifest.summary,
    }


def _make_flow(name: str, run: Callable[[Settings], list[StageRecord]], description: str) -> SettingsFlow:
    """A flow whose parameters are the sections of the settings, so that a form shows each on its own."""

    def from_sections(
        dataset: DatasetSettings = _DEFAULTS.dataset,
        backbone: BackboneSettings = _DEFAULTS.backbone,
        train: TrainSettings = _DEFAULTS.train,
        segment: SegmentSettings = _DEFAULTS.segment,
        embed: EmbedSettings = _DEFAULTS.embed,
        language: LanguageSettings = _DEFAULTS.language,
        evaluate: EvaluateSettings = _DEFAULTS.evaluate,
        report: ReportSettings = _DEFAULTS.report,
        compare: CompareSettings = _DEFAULTS.compare,
        runner: RunnerSettings = _DEFAULTS.runner,
        workspace: WorkspaceLocation = _DEFAULTS.workspace,
        shard_images: int = _DEFAULTS.shard_images,
    ) -> list[StageRecord]:
        arguments = locals()
        return run(Settings(**{name: arguments[name] for name in Settings.model_fields}))

    return flow(name=name, description=description, persist_result=False)(from_sections)


def _stage_flow(stage: str) -> SettingsFlow:
    def run(settings: Settings) -> list[StageRecord]:
        records = []
        job = find_job(settings, stage)
        for earlier in stages_up_to(stage, settings)[:-1]:
            manifest = job.checkpoint(earlier).read_manifest()
            if manifest is None or not manifest.complete:
                records.extend(FLOWS[earlier](**sections(settings)))
                job = find_job(settings, stage)  # the keys after an index are known once it is there
        return [*records, _run_stage(stage, settings)]

    return _make_flow(stage, run, inspect.getdoc(STAGES[stage]) or "")


def sections(settings: Settings) -> dict[str, Any]:
    """The parameters of a flow that say these settings."""
    return {name: getattr(settings, name) for name in Settings.model_fields}


index = _stage_flow("index")
extract = _stage_flow("extract")
train = _stage_flow("train")
segment = _stage_flow("segment")
embed = _stage_flow("embed")
language = _stage_flow("language")
evaluate = _stage_flow("evaluate")
report = _stage_flow("report")
FLOWS = {found.name: found for found in (index, extract, train, segment, embed, language, evaluate, report)}


def _run_pipeline(settings: Settings) -> list[StageRecord]:
    # Each flow finds the stages before it complete, and adds the record of its own.
    return [FLOWS[stage](**sections(settings))[-1] for stage in stages_up_to(None, settings)]


pipeline = _make_flow("pipeline", _run_pipeline, "All stages, from the data set to the page.")


def run_variants(variants: list[Variant]) -> list[StageRecord]:
    """Run each up to ``evaluate``, on shared checkpoints, and write the page; returns one record."""
    logger = get_run_logger()
    for variant in variants:
        logger.info("%s", variant.name)
        progress.say(variant.name)
        FLOWS["evaluate"](**sections(variant.settings))
    checkpoint, rows = write_comparison(variants)
    publish_comparison(rows)
    return [{"stage": checkpoint.stage, "key": checkpoint.key, "rows": rows}]


compare = _make_flow(
    "compare",
    lambda settings: run_variants(segmenter_variants(settings)),
    "The DCN and its rivals through the same protocols, on one feature cache.",
)


@flow(name="sweep", persist_result=False)
def sweep(variants: list[Variant]) -> list[StageRecord]:
    """Any settings, side by side, on one feature cache."""
    return run_variants(variants)
