"""The interface of an orchestrator, and the records that flows return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

from flows import progress
from flows.compare.rows import ComparisonRow
from flows.execution.retries import Work
from flows.execution.run import StageResult
from flows.settings import Settings
from flows.stage import Job


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

    @classmethod
    def of(cls, result: StageResult) -> Self:
        """Describe a finished stage."""
        manifest = result.manifest
        return cls(result.stage, manifest.key, result.reused, manifest.seconds, manifest.summary)


@dataclass(frozen=True)
class ComparisonRecord:
    """What comparisons return: the key of their checkpoint ``compare``, and the rows of the table."""

    key: str
    rows: list[ComparisonRow]


class Orchestrator(ABC):
    """Runs the flows and the tasks of the DAG.

    The methods that are not abstract show a run to somebody who is not at the terminal. By default nobody is.
    """

    @abstractmethod
    def run_stage(self, stage: str, settings: Settings, listing: str) -> list[StageRecord]:
        """Run the flow of a stage: :func:`flows.orchestration.dag.run_stage_flow`."""

    @abstractmethod
    def run_task(self, name: str, work: Work, limit: float | None = None) -> dict[str, Any]:
        """Run one task in this thread, and again after a transient error.

        Args:
            name: name of the task, for people.
            work: is safe to repeat.
            limit: number of seconds that an attempt may take; None is no limit.

        """

    @abstractmethod
    def run_tasks(
        self,
        name: str,
        works: Mapping[str, Work],
        threads: int,
        limit: float | None,
        finished: Callable[[str], None],
        stop: Callable[[], None],
    ) -> None:
        """Run tasks in threads, each as :meth:`run_task` does. Return when all are finished.

        Args:
            name: name of all of them together, for people.
            works: the work of each task, by the name of the task.
            threads: number of tasks that run at once.
            limit: number of seconds that an attempt of a task may take; None is no limit.
            finished: receives the name of each finished task, in this thread.
            stop: is called once if a task fails or this process is interrupted. It makes all work end soon.

        """

    def count(self, stages: Sequence[str]) -> AbstractContextManager[Callable[[str], None]]:
        """Show how many stages of the pipeline are finished. The context gives what is called after each."""
        return nullcontext(lambda _: None)

    def watch(self, stage: str) -> AbstractContextManager[None]:
        """Show the progress of a stage inside of this context."""
        return nullcontext()

    def say(self, message: str) -> None:
        """Say what happens next, at the terminal too."""
        progress.say(message)

    def warn(self, message: str) -> None:
        """Warn, at the terminal too."""
        progress.warn(message)

    def publish(self, job: Job, result: StageResult) -> None:  # noqa: B027 - by default there is no page
        """Show a finished stage."""
