"""The DAG: what the flows of a stage, of the pipeline and of a comparison do, whoever runs them.

A flow of one stage first runs those of the stages before it whose checkpoints are missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from flows import progress
from flows.compare.ladder import ladder_variants
from flows.compare.variants import Variant, segmenter_variants, sweep_variants
from flows.execution.plan import find_job, stages_up_to
from flows.execution.retries import Work
from flows.execution.run import run_stage
from flows.execution.runners import open_runner
from flows.orchestration.orchestrator import ComparisonRecord, Orchestrator, StageRecord
from flows.settings import Settings
from flows.stage import Job

# Tasks per worker: enough that the last ones end together, few enough that a task is worth its overhead.
_TASKS_PER_WORKER = 4


def run_stage_flow(
    orchestrator: Orchestrator, stage: str, settings: Settings, listing: str | None = None
) -> list[StageRecord]:
    """Complete a stage, and before it those that it reads.

    Args:
        orchestrator: runs the tasks, and the flows of the stages before.
        stage: name of the stage.
        settings: of the run.
        listing: digest of the listing of the data set, from the flow that calls this one; None lists the data
            set now.

    Returns:
        One record for each stage that this flow ran, that of ``stage`` at the end.

    """
    records: list[StageRecord] = []
    job = _find_job(orchestrator, settings, stage, listing)
    for earlier in stages_up_to(stage, settings)[:-1]:
        manifest = job.checkpoint(earlier).read_manifest()
        if manifest is None or not manifest.complete:
            records.extend(orchestrator.run_stage(earlier, settings, job.listing))
            # The keys after the index are known once it is complete.
            job = _find_job(orchestrator, settings, stage, job.listing)
    return [*records, _complete_stage(orchestrator, stage, job)]


def run_pipeline(orchestrator: Orchestrator, settings: Settings) -> list[StageRecord]:
    """Complete all stages, from the data set to the page. Returns one record for each, in their order."""
    stages = stages_up_to(None, settings)
    listing = _find_job(orchestrator, settings, stages[0]).listing
    records = {}
    with orchestrator.count(stages) as finished:
        for stage in stages:
            # Each flow finds the stages before it complete, and adds the record of its own.
            records[stage] = orchestrator.run_stage(stage, settings, listing)[-1]
            finished(stage)
    return list(records.values())


def run_compare(orchestrator: Orchestrator, settings: Settings) -> list[ComparisonRecord]:
    """Run several segmenters on one feature cache, and compare them."""
    return run_variants(orchestrator, segmenter_variants(settings))


def run_sweep(orchestrator: Orchestrator, settings: Settings) -> list[ComparisonRecord]:
    """Run every combination of some values of settings, and compare them."""
    return run_variants(orchestrator, sweep_variants(settings))


def run_ladder(orchestrator: Orchestrator, settings: Settings) -> list[ComparisonRecord]:
    """Run the steps from the paper's method to ours, and compare them."""
    return run_variants(orchestrator, ladder_variants(settings))


def run_variants(orchestrator: Orchestrator, variants: list[Variant]) -> list[ComparisonRecord]:
    """Run each variant up to ``evaluate`` on shared checkpoints, write the page, and return one record."""
    from flows.compare.page import write_comparison  # matplotlib, which other flows need not wait for

    # All variants have the same data set.
    listing = _find_job(orchestrator, variants[0].settings, "index").listing
    for variant in variants:
        orchestrator.say(variant.name)
        orchestrator.run_stage("evaluate", variant.settings, listing)
    checkpoint, rows = write_comparison([replace(variant, listing=listing) for variant in variants])
    return [ComparisonRecord(checkpoint.key, rows)]


def _find_job(orchestrator: Orchestrator, settings: Settings, stage: str, listing: str | None = None) -> Job:
    """Find the job of a stage, as a task: if the data set cannot be listed just now, it is tried again."""
    return Job.from_json(
        orchestrator.run_task(f"{stage} keys", lambda: find_job(settings, stage, listing).to_json())
    )


def _complete_stage(orchestrator: Orchestrator, stage: str, job: Job) -> StageRecord:
    def attempt(what: str, work: Work) -> dict[str, Any]:
        # Listing takes time in proportion to the number of photographs, so the first part has no limit.
        limit = job.settings.runner.task_timeout if what == "rest" else None
        return orchestrator.run_task(f"{stage} {what}", work, limit)

    with orchestrator.watch(stage):
        run_shards = partial(_run_shards, orchestrator)
        result = run_stage(job, stage, run_shards, orchestrator.warn, orchestrator.say, attempt)
    orchestrator.publish(job, result)
    return StageRecord.of(result)


def _run_shards(orchestrator: Orchestrator, job: Job, stage: str, shards: list[int]) -> None:
    """Compute shards. Each task is a range of shards; ``runner`` limits how many run at once.

    Finished shards are on storage, so it is safe to run a task twice.
    """
    manifest, settings = job.checkpoint(stage).require_begun(), job.settings.runner
    with open_runner(job.settings, orchestrator.warn) as runner:
        size = math.ceil(len(shards) / (_TASKS_PER_WORKER * runner.workers))
        parts = [shards[start : start + size] for start in range(0, len(shards), size)]
        ranges = {f"{stage} {part[0]}-{part[-1]}": part for part in parts}

        def finished(name: str) -> None:
            if settings.kind == "dask":  # its workers have no watcher
                progress.advance(stage, manifest.count_rows(ranges[name]))

        orchestrator.run_tasks(
            f"{stage} shards",
            {name: partial(runner.compute, job.to_json(), stage, part) for name, part in ranges.items()},
            min(len(parts), runner.waiting),
            settings.task_timeout,
            finished,
            runner.stop,
        )


# Flows of a whole run, by the names of their commands. Those of the stages have the names of the stages.
RUNS: dict[str, Callable[[Orchestrator, Settings], list[Any]]] = {
    "pipeline": run_pipeline,
    "compare": run_compare,
    "sweep": run_sweep,
    "ladder": run_ladder,
}
