"""What the log of a flow run says: a line for each finished stage, and one for each tenth of the training."""

from __future__ import annotations

from logging import Logger, LoggerAdapter
from typing import Any

from flows.evaluation.results import Results
from flows.prefect_ui.artifacts import flat_metrics
from flows.report.headline import headline_metrics

# Entries of a summary that are metrics, for the stages that keep other entries as well.
_METRICS = {
    "index": ("images", "labelled", "refused"),
    "train": ("iterations", "held_out_modularity", "regions_per_image", "collapsed_iterations"),
}


class TrainingLog:
    """A watcher that writes a line into a log whenever another tenth of the training is done.

    Args:
        log: the logger of a flow run. The flow of ``train`` has one, and so has each flow that calls it.

    """

    def __init__(self, log: Logger | LoggerAdapter[Logger]) -> None:
        self._log = log
        self._done, self._total = 0, 0

    def start(self, stage: str, total: int, done: int) -> None:
        if stage == "train":
            self._done, self._total = done, total

    def advance(self, stage: str, units: int, note: str) -> None:
        if stage != "train" or not self._total:
            return
        tenths = 10 * self._done // self._total
        self._done += units
        if 10 * self._done // self._total > tenths:
            self._log.info("train %d/%d, %s", self._done, self._total, note)

    def end_early(self, stage: str, note: str) -> None:
        if stage == "train":
            self._log.info("train %s", note)

    def end(self, stage: str) -> None:
        """The line of the stage follows."""

    def say(self, message: str) -> None:
        """The flow of the stage logs it."""

    def warn(self, message: str) -> None:
        """Likewise."""


def stage_line(stage: str, key: str, reused: bool, seconds: float, summary: dict[str, Any]) -> str:
    """Describe a finished stage in one line: what happened, how long it took, and its metrics.

    Args:
        stage: name of the stage.
        key: key of its checkpoint.
        reused: the checkpoint was complete before.
        seconds: duration of the computation.
        summary: the summary of its manifest.

    """
    how = "reused" if reused else f"computed in {seconds:.1f} s"
    return f"{stage}/{key} {how}: {', '.join(_metrics(stage, summary))}"


def _metrics(stage: str, summary: dict[str, Any]) -> list[str]:
    if stage == "evaluate":
        return [f"{metric.name} {metric.value}" for metric in headline_metrics(Results.from_json(summary))]
    names = _METRICS.get(stage, tuple(summary))
    chosen = {name: summary[name] for name in names}
    return [f"{name.replace('_', ' ')} {shown}" for name, shown in flat_metrics(chosen)]
