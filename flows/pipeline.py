"""The flows of the DAG as Prefect runs them: one flow per stage, and the pipeline that calls them.

:mod:`flows.orchestration.dag` says what a flow does. What Prefect keeps of results and errors is JSON, never
a pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, TypeVar

from prefect import Flow, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from dcn.datasets import DatasetOptions
from flows import progress
from flows.evaluation.results import Results
from flows.execution.plan import STAGES
from flows.execution.process import prepare_process
from flows.execution.retries import Work
from flows.execution.run import StageResult
from flows.execution.runners import keep_cluster
from flows.execution.time_limit import run_within
from flows.orchestration.dag import run_compare, run_ladder, run_pipeline, run_stage_flow, run_sweep
from flows.orchestration.orchestrator import ComparisonRecord, Orchestrator, StageRecord
from flows.prefect_ui.artifacts import publish, publish_comparison, publish_failure, publish_pipeline
from flows.prefect_ui.progress import PageProgress
from flows.prefect_ui.run_log import TrainingLog, stage_line
from flows.prefect_ui.settings import NOT_KEPT, RETRIES
from flows.printable import printable_line
from flows.settings import (
    AnyDataset,
    BackboneSettings,
    CompareSettings,
    DistillSettings,
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

_DEFAULTS = Settings()


@task(cache_policy=NO_CACHE, **NOT_KEPT, **RETRIES)
def step(work: Work) -> dict[str, Any]:
    """Run a piece of work: a range of shards, or a part of a stage that has none. Safe to repeat."""
    return work()


class _Prefect(Orchestrator):
    """Calls flows and tasks of Prefect, and shows them on the page of the flow run.

    Args:
        dataset: data set of the flow run, for the names of those that it calls.

    """

    def __init__(self, dataset: DatasetOptions) -> None:
        self._dataset = dataset

    def run_stage(self, stage: str, settings: Settings, listing: str) -> list[StageRecord]:
        records: list[StageRecord] = _stage_flow(stage, listing)(**sections(settings))
        for record in records:  # the log of this flow run gets a line for each stage that ran
            _log(record)
        return records

    def run_task(self, name: str, work: Work, limit: float | None = None) -> dict[str, Any]:
        named = step.with_options(name=name, task_run_name=name, timeout_seconds=limit)
        return dict(named(work))

    def run_tasks(
        self,
        name: str,
        works: Mapping[str, Work],
        threads: int,
        limit: float | None,
        finished: Callable[[str], None],
        stop: Callable[[], None],
    ) -> None:
        def submit_all() -> None:
            futures = {}
            try:
                for task_name, work in works.items():
                    named = step.with_options(name=name, task_run_name=task_name)
                    # Prefect warns of its own time-outs in threads, although they do the same.
                    futures[named.submit(partial(run_within, limit, work))] = task_name
                for future in as_completed(list(futures)):
                    future.result()
                    finished(futures[future])
            except BaseException:
                stop()
                raise

        runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=threads)
        run_name = _run_name(self._dataset, name)
        flow(name=name, flow_run_name=run_name, task_runner=runner, **NOT_KEPT)(submit_all)()

    @contextmanager
    def count(self, stages: Sequence[str]) -> Iterator[Callable[[str], None]]:
        with PageProgress("pipeline") as page:
            page.start("pipeline", len(stages), 0)
            yield lambda stage: page.advance("pipeline", 1, stage)

    @contextmanager
    def watch(self, stage: str) -> Iterator[None]:
        with PageProgress(stage) as page, progress.watched(page):
            yield

    def say(self, message: str) -> None:
        get_run_logger().info(message)
        super().say(message)

    def warn(self, message: str) -> None:
        get_run_logger().warning(message)
        super().warn(message)

    def publish(self, job: Job, result: StageResult) -> None:
        publish(job, result)
        _log(StageRecord.of(result))


def _log(record: StageRecord) -> None:
    """Write a line about a finished stage into the log of the current flow run."""
    line = stage_line(record.stage, record.key, record.reused, record.seconds, record.summary)
    get_run_logger().info("%s", line)


def _run_name(dataset: DatasetOptions, what: str) -> str:
    """Name a flow run after its data set and its stage."""
    return printable_line(f"{dataset.title}: {what}")


def _make_flow(
    name: str, run: Callable[[Orchestrator, Settings], list[Record]], description: str
) -> Flow[..., list[Record]]:
    """A flow whose parameters are the sections of the settings, so that a form shows each on its own."""

    def from_sections(
        dataset: AnyDataset = _DEFAULTS.dataset,
        backbone: BackboneSettings = _DEFAULTS.backbone,
        train: TrainSettings = _DEFAULTS.train,
        segment: SegmentSettings = _DEFAULTS.segment,
        embed: EmbedSettings = _DEFAULTS.embed,
        distill: DistillSettings = _DEFAULTS.distill,
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
            dataset: Choose the photographs, with their ground truth if there is one.
            backbone: Choose the frozen ViT that computes the tokens.
            train: Set up the network and its training.
            segment: Choose how photographs are divided into regions, and which regions are foreground.
            embed: Set up the embeddings of the regions.
            distill: Let a head learn the classes of the regions; without rounds this is off.
            language: Name a language-image model to classify by it; without a name this is off.
            evaluate: Choose how regions and classes are measured.
            report: Set up the page of the results.
            compare: Choose the segmenters that the flow compare runs.
            sweep: Choose settings and their values for the flow sweep.
            runner: Choose where the shards are computed. Results do not depend on it.
            workspace: Name the location of the checkpoints, the same for all workers.
            shard_images: Set the number of images in one file of a new checkpoint.

        """
        arguments = locals()
        prepare_process()
        try:
            settings = Settings(**{name: arguments[name] for name in Settings.model_fields})
            with keep_cluster(), progress.watched(TrainingLog(get_run_logger())):
                return run(_Prefect(settings.dataset), settings)
        except Exception as error:
            _show_failure(error)
            raise

    def run_name() -> str:
        return _run_name(flow_run.parameters.get("dataset", _DEFAULTS.dataset), name)

    return flow(name=name, flow_run_name=run_name, description=description, **NOT_KEPT)(from_sections)


def _show_failure(error: Exception) -> None:
    try:
        publish_failure(error)
    except Exception:  # no server, perhaps: it must not hide what happened
        get_run_logger().warning("the cause could not be put on the page", exc_info=True)


# A flow derives the schema of its parameters, which takes 40 ms: the variants of a comparison share theirs.
@lru_cache(maxsize=2 * len(STAGES))
def _stage_flow(stage: str, listing: str | None = None) -> Flow[..., list[StageRecord]]:
    """Make the flow of a stage; see :func:`flows.orchestration.dag.run_stage_flow`."""

    def run(orchestrator: Orchestrator, settings: Settings) -> list[StageRecord]:
        return run_stage_flow(orchestrator, stage, settings, listing)

    description = next(entry.description for entry in STAGE_TABLE if entry.name == stage)
    return _make_flow(stage, run, f"{description} The stages before it run first if they are missing.")


def sections(settings: Settings) -> dict[str, Any]:
    """The parameters of a flow that say these settings."""
    return {name: getattr(settings, name) for name in Settings.model_fields}


FLOWS = {stage: _stage_flow(stage) for stage in STAGES}
# An entry point of prefect.yaml, as flows/pipeline.py:extract, names a variable of this module.
globals().update(FLOWS)


def _run_pipeline(orchestrator: Orchestrator, settings: Settings) -> list[StageRecord]:
    records = run_pipeline(orchestrator, settings)
    evaluated = next(record for record in records if record.stage == "evaluate")
    publish_pipeline(Results.from_json(evaluated.summary))
    return records


pipeline = _make_flow("pipeline", _run_pipeline, "Run all stages, from the data set to the page.")


def _run_comparison(
    run: Callable[[Orchestrator, Settings], list[ComparisonRecord]],
    orchestrator: Orchestrator,
    settings: Settings,
) -> list[ComparisonRecord]:
    records = run(orchestrator, settings)
    publish_comparison(records[0].rows)
    return records


compare = _make_flow(
    "compare",
    partial(_run_comparison, run_compare),
    "Run several segmenters on one feature cache, and compare them by the same protocols.",
)


sweep = _make_flow(
    "sweep",
    partial(_run_comparison, run_sweep),
    "Run every combination of some values of settings, side by side, on one feature cache.",
)


ladder = _make_flow(
    "ladder",
    partial(_run_comparison, run_ladder),
    "Run the steps from the paper's method to ours, each on top of those before it.",
)


def call_flow(name: str, settings: Settings) -> list[Any]:
    """Call the flow of a stage, or one of those above, by its name; returns its records."""
    runs = {"pipeline": pipeline, "compare": compare, "sweep": sweep, "ladder": ladder}
    named: dict[str, Any] = {**FLOWS, **runs}
    return list(named[name](**sections(settings)))
