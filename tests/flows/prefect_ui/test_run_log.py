"""The log of a flow run: a line for each stage with its metrics, and one for each tenth of the training."""

import logging
import re

import pytest

from flows.execution.plan import find_job
from flows.prefect_ui.run_log import TrainingLog, stage_line
from flows.settings import Settings
from tests.flows.helpers import STAGES


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> TrainingLog:
    caplog.set_level(logging.INFO)
    return TrainingLog(logging.getLogger("run"))


def numbers(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Iterations that lines of the log name."""
    return [int(match[1]) for line in caplog.messages if (match := re.match(r"train (\d+)/", line))]


@pytest.mark.parametrize(
    ("total", "done", "expected"),
    [
        (200, 0, list(range(20, 201, 20))),
        (12, 0, [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]),
        (3, 0, [1, 2, 3]),
        (100, 75, [80, 90, 100]),  # a resumed training
    ],
)
def test_each_tenth_of_the_training_is_one_line(
    log: TrainingLog, caplog: pytest.LogCaptureFixture, total: int, done: int, expected: list[int]
) -> None:
    log.start("train", total, done)
    for _ in range(total - done):
        log.advance("train", 1, "loss -0.2")
    assert numbers(caplog) == expected
    assert caplog.messages[-1] == f"train {total}/{total}, loss -0.2"


def test_other_stages_are_not_counted(log: TrainingLog, caplog: pytest.LogCaptureFixture) -> None:
    log.start("extract", 10, 0)
    log.advance("extract", 5, "")
    log.end_early("extract", "")
    assert not caplog.messages


def test_an_early_end_is_a_line(log: TrainingLog, caplog: pytest.LogCaptureFixture) -> None:
    log.start("train", 100, 0)
    log.end_early("train", "ended after 40 of 100 iterations: held-out modularity stood still")
    assert caplog.messages == ["train ended after 40 of 100 iterations: held-out modularity stood still"]


def test_every_stage_has_a_line_with_its_metrics(finished: Settings) -> None:
    job = find_job(finished)
    for stage in STAGES:
        manifest = job.checkpoint(stage).require()
        line = stage_line(stage, manifest.key, False, 1.25, manifest.summary)
        assert line.startswith(f"{stage}/{manifest.key} computed in 1.2 s: ")
        assert re.search(r": \w.* \d", line), line
        assert "\n" not in line
        assert "reused" in stage_line(stage, manifest.key, True, 1.25, manifest.summary)
    evaluated = job.checkpoint("evaluate").require()
    assert re.search(r"k-means mIoU 0\.\d+", stage_line("evaluate", "", True, 0, evaluated.summary))
