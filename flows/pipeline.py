"""The DAG: one Prefect flow per stage, and the pipeline that calls them.

A flow of one stage first runs those of the stages before it whose checkpoints are missing. What Prefect keeps
of results and errors is JSON, never a pickle.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from prefect import Flow, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows import progress
from flows.compare.page import write_comparison
from flows.compare.rows import ComparisonRow
from flows.compare.variants import Variant, segmenter_variants, sweep_variants
from flows.evaluation.results import Results
from flows.execution.plan import STAGES, find_job, stages_up_to
from flows.execution.process import prepare_process
from flows.execution.retries import RETRIES
from flows.execution.run import run_stage
from flows.execution.runners import keep_cluster, open_runner
from flows.prefect_ui.artifacts import publish, publish_comparison, publish_failure, publish_pipeline
from flows.prefect_ui.progress import PageProgress
from flows.prefect_ui.settings import NOT_KEPT
from flows.settings import (
    AnyDataset,
    BackboneSettings,
    CompareSettings,
    EmbedSettings,
    EvaluateSettings,
    LanguageSettings,
    ReportSettings,
    RunnerSettings,
    SegmentSettings,
    Settings,
    SweepSettings,
    TrainSettings,
    WorkspaceLocation,
)
from flows.stage import Job
from flows.stages import STAGE_TABLE

Record = TypeVar("Record")


@dataclass(frozen=True)
class StageRecord:
    """What the flow of a stage returns.

    Attributes:
        stage: name of the stage.
        key: key of its checkpoint.
        reused: the checkpoint was complete before the flow began.
        seconds: duration of the work on the checkpoint.
        summary: the summary of its manifest.

    """

    stage: str
    key: str
    reused: bool
    seconds: float
    summary: dict[str, Any]


@dataclass(frozen=True)
class ComparisonRecord:
    """What the flows ``compare`` and ``sweep`` return: the key of ``compare``, and the rows of the table."""

    key: str
    rows: list[ComparisonRow]


_DEFAULTS = Settings()
# Tasks per worker: enough that the last ones end together, few enough that a task is worth its overhead.
_TASKS_PER_WORKER = 4


@task(cache_policy=NO_CACHE, **NOT_KEPT, **RETRIES)
def step(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a stage's unsharded part. Safe to repeat."""
    return work()


def _find_job(settings: Settings, stage: str, listing: str | None = None) -> Job:
    """Find the job of a stage, as a task: if the data set cannot be listed just now, Prefect tries again."""
    name = f"{stage} keys"
    named = step.with_options(name=name, task_run_name=name)
    return Job.from_json(named(lambda: find_job(settings, stage, listing).to_json()))


def _run_shards(job: Job, stage: str, shards: list[int]) -> None:
    """Compute shards in a subflow. Each task is a range of shards; ``runner`` limits how many run at once.

    Finished shards are on storage, so it is safe to run a task twice.
    """
    manifest = job.checkpoint(stage).require_begun()
    with open_runner(job.settings, _warn) as runner:
        size = math.ceil(len(shards) / (_TASKS_PER_WORKER * runner.workers))
        parts = [shards[start : start + size] for start in range(0, len(shards), size)]
        as_task = task(name=f"{stage} shards", cache_policy=NO_CACHE, **NOT_KEPT, **RETRIES)
        shard_range = as_task(runner.compute)

        def submit_all() -> None:
            futures = {}
            limit = job.settings.runner.task_timeout
            try:
                for part in parts:
                    named = shard_range.with_options(
                        task_run_name=f"{stage} {part[0]}-{part[-1]}", timeout_seconds=limit
                    )
                    futures[named.submit(job.to_json(), stage, part)] = part
                for future in as_completed(list(futures)):
                    future.result()
                    if job.settings.runner.kind == "dask":  # its workers have no watcher
                        progress.advance(stage, manifest.count_rows(futures[future]))
            except BaseException:
                runner.stop()
                raise

        threads: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=min(len(parts), runner.waiting))
        flow(name=f"{stage} shards", task_runner=threads, **NOT_KEPT)(submit_all)()


def _warn(message: str) -> None:
    get_run_logger().warning(message)
    progress.warn(message)


def _run_stage(stage: str, job: Job) -> StageRecord:
    logger = get_run_logger()

    def say(message: str) -> None:
        logger.info(message)
        progress.say(message)

    def attempt(what: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        name = f"{stage} {what}"
        # Listing takes time in proportion to the number of photographs, so the first part has no limit.
        limit = job.settings.runner.task_timeout if what == "rest" else None
        return step.with_options(name=name, task_run_name=name, timeout_seconds=limit)(work)

    with PageProgress(stage) as page, progress.watched(page):
        result = run_stage(job, stage, _run_shards, _warn, say, attempt)
    logger.info("%s %s: %s", stage, result.manifest.key, "reused" if result.reused else "computed")
    publish(job, result)
    manifest = result.manifest
    return StageRecord(stage, manifest.key, result.reused, manifest.seconds, manifest.summary)


def _make_flow(
    name: str, run: Callable[[Settings], list[Record]], description: str
) -> Flow[..., list[Record]]:
    """A flow whose parameters are the sections of the settings, so that a form shows each on its own."""

    def from_sections(
        dataset: AnyDataset = _DEFAULTS.dataset,
        backbone: BackboneSettings = _DEFAULTS.backbone,
        train: TrainSettings = _DEFAULTS.train,
        segment: SegmentSettings = _DEFAULTS.segment,
        embed: EmbedSettings = _DEFAULTS.embed,
        language: LanguageSettings = _DEFAULTS.language,
        evaluate: EvaluateSettings = _DEFAULTS.evaluate,
        report: ReportSettings = _DEFAULTS.report,
        compare: CompareSettings = _DEFAULTS.compare,
        sweep: SweepSettings = _DEFAULTS.sweep,
        runner: RunnerSettings = _DEFAULTS.runner,
        workspace: WorkspaceLocation = _DEFAULTS.workspace,
        shard_images: int = _DEFAULTS.shard_images,
    ) -> list[Record]:
        """Build the settings, and run. The form of a deployment shows the descriptions of the arguments.

        Args:
            dataset: Photographs, and their ground truth if there is one.
            backbone: The frozen ViT.
            train: The network and its training.
            segment: Segmentation into regions, and choice of the foreground regions.
            embed: Embeddings of the regions.
            language: Classification by a language-image model; off if it names no model.
            evaluate: Evaluation of the regions and the classes.
            report: The page of the results.
            compare: Segmenters of the flow compare.
            sweep: Settings and their values in the flow sweep.
            runner: Where the shards are computed. Results do not depend on it.
            workspace: Location of the checkpoints, the same for all workers.
            shard_images: Number of images in one file of a new checkpoint.

        """
        arguments = locals()
        prepare_process()
        try:
            with keep_cluster():
                return run(Settings(**{name: arguments[name] for name in Settings.model_fields}))
        except Exception as error:
            _show_failure(error)
            raise

    return flow(name=name, description=description, **NOT_KEPT)(from_sections)


def _show_failure(error: Exception) -> None:
    try:
        publish_failure(error)
    except Exception:  # no server, perhaps: it must not hide what happened
        get_run_logger().warning("the cause could not be put on the page", exc_info=True)


# A flow derives the schema of its parameters, which takes 40 ms: the variants of a comparison share theirs.
@lru_cache(maxsize=2 * len(STAGES))
def _stage_flow(stage: str, listing: str | None = None) -> Flow[..., list[StageRecord]]:
    """Make the flow of a stage.

    Args:
        stage: name of the stage.
        listing: digest of the listing of the data set, from the flow that calls this one; None lists the data
            set when the flow runs.

    """

    def run(settings: Settings) -> list[StageRecord]:
        records: list[StageRecord] = []
        job = _find_job(settings, stage, listing)
        for earlier in stages_up_to(stage, settings)[:-1]:
            manifest = job.checkpoint(earlier).read_manifest()
            if manifest is None or not manifest.complete:
                records.extend(_stage_flow(earlier, job.listing)(**sections(settings)))
                # The keys after the index are known once it is complete.
                job = _find_job(settings, stage, job.listing)
        return [*records, _run_stage(stage, job)]

    description = next(entry.description for entry in STAGE_TABLE if entry.name == stage)
    return _make_flow(stage, run, f"{description}\n\n{inspect.getdoc(STAGES[stage])}")


def sections(settings: Settings) -> dict[str, Any]:
    """The parameters of a flow that say these settings."""
    return {name: getattr(settings, name) for name in Settings.model_fields}


FLOWS = {stage: _stage_flow(stage) for stage in STAGES}
# An entry point of prefect.yaml, as flows/pipeline.py:extract, names a variable of this module.
globals().update(FLOWS)


def _run_pipeline(settings: Settings) -> list[StageRecord]:
    stages = stages_up_to(None, settings)
    listing = _find_job(settings, stages[0]).listing
    records = {}
    with PageProgress("pipeline") as page:
        page.start("pipeline", len(stages), 0)
        for stage in stages:
            # Each flow finds the stages before it complete, and adds the record of its own.
            records[stage] = _stage_flow(stage, listing)(**sections(settings))[-1]
            page.advance("pipeline", 1, stage)
    publish_pipeline(Results.from_json(records["evaluate"].summary))
    return list(records.values())


pipeline = _make_flow("pipeline", _run_pipeline, "Run all stages, from the data set to the page.")


def run_variants(variants: list[Variant]) -> list[ComparisonRecord]:
    """Run each variant up to ``evaluate`` on shared checkpoints, write the page, and return one record."""
    logger = get_run_logger()
    listing = _find_job(variants[0].settings, "index").listing  # all variants have the same data set
    for variant in variants:
        logger.info("%s", variant.name)
        progress.say(variant.name)
        _stage_flow("evaluate", listing)(**sections(variant.settings))
    checkpoint, rows = write_comparison([replace(variant, listing=listing) for variant in variants])
    publish_comparison(rows)
    return [ComparisonRecord(checkpoint.key, rows)]


compare = _make_flow(
    "compare",
    lambda settings: run_variants(segmenter_variants(settings)),
    "Run several segmenters on one feature cache, and compare them by the same protocols.",
)


sweep = _make_flow(
    "sweep",
    lambda settings: run_variants(sweep_variants(settings)),
    "Run every combination of some values of settings, side by side, on one feature cache.",
)
