"""Stage ``train``: when it ends, what it repeats after an interruption, and the room that it asks for."""

import json
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from torch import Tensor

from dcn.errors import InvalidOptionError
from dcn.training import StepRecord, Trainer
from flows import progress
from flows.errors import describe_error
from flows.execution.plan import STAGES, find_job
from flows.inputs.summaries import TrainSummary
from flows.settings import Settings
from storage import Manifest
from tests.dcn.test_early_stopping import plain_end
from tests.flows.helpers import changed, run_stages

ITERATIONS, PATIENCE = 24, 2


class InterruptionError(Exception):
    """What ends a training in the middle."""


@pytest.fixture
def whole(copy: Settings) -> Settings:
    """A check after each iteration, and the state saved after it; ``train`` ran to its end."""
    train = {"iterations": ITERATIONS, "check_every": 1, "save_seconds": 0, "num_stages": 1}
    settings = changed(copy, train=train)
    run_stages(settings, "train")
    return settings


@pytest.fixture
def patient(whole: Settings) -> Settings:
    """The same with patience, run to its end."""
    settings = changed(whole, train={"patience": PATIENCE})
    run_stages(settings, "train")
    return settings


def files_of(settings: Settings) -> dict[str, bytes]:
    folder = Path(find_job(settings).checkpoint("train").location) / "files"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def curve_of(settings: Settings) -> dict[str, list[object]]:
    curve: dict[str, list[object]] = json.loads(files_of(settings)["curve.json"])
    return curve


def expected_iterations(settings: Settings) -> int:
    """The end by a second version of the rule, from the curve of a run without patience."""
    values = [value for _, value in json.loads(files_of(settings)["curve.json"])["held_out"]]
    end = plain_end(values, PATIENCE)
    assert end is not None
    assert PATIENCE < end < ITERATIONS
    return end


def test_patience_ends_the_training_and_changes_no_bit_before(whole: Settings, patient: Settings) -> None:
    end = expected_iterations(whole)
    assert curve_of(patient) == {name: values[:end] for name, values in curve_of(whole).items()}
    summary = TrainSummary.read(find_job(patient))
    assert summary.iterations == end
    assert summary.ended == "held-out modularity stood still"
    values = json.loads(files_of(patient)["curve.json"])["held_out"]
    assert [summary.best_iteration, summary.held_out_modularity] == max(values, key=lambda check: check[1])


def test_without_patience_all_iterations_run(whole: Settings, finished: Settings) -> None:
    for settings, iterations in ((whole, ITERATIONS), (finished, 12)):
        summary = TrainSummary.read(find_job(settings))
        assert (summary.iterations, summary.ended) == (iterations, "all iterations are done")
        manifest = find_job(settings).checkpoint("train").require()
        assert STAGES["train"].remark(manifest) == ""


def test_patience_is_in_the_key_and_save_seconds_is_not(finished: Settings) -> None:
    before = find_job(finished).keys["train"]
    assert find_job(changed(finished, train={"save_seconds": 99})).keys["train"] == before
    assert find_job(changed(finished, train={"patience": 3})).keys["train"] != before


@pytest.mark.slow
def test_a_training_resumes_at_every_iteration_and_ends_at_the_same(
    patient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, step = files_of(patient), Trainer.step
    folder = Path(find_job(patient).checkpoint("train").location)
    end = TrainSummary.read(find_job(patient)).iterations
    for iteration in range(1, end + 1):
        shutil.rmtree(folder)

        def interrupted(
            self: Trainer, tokens: Tensor, names: Iterator[str], iteration: int = iteration
        ) -> StepRecord:
            if self.iteration == iteration:
                raise InterruptionError
            return step(self, tokens, names)

        monkeypatch.setattr(Trainer, "step", interrupted)
        if iteration < end:
            with pytest.raises(InterruptionError):
                run_stages(patient, "train")
            assert (folder / "files" / "state.safetensors").exists()
        steps = count()

        def counted(
            self: Trainer, tokens: Tensor, names: Iterator[str], steps: Iterator[int] = steps
        ) -> StepRecord:
            next(steps)
            return step(self, tokens, names)

        monkeypatch.setattr(Trainer, "step", counted)
        run_stages(patient, "train")
        assert files_of(patient) == expected
        assert next(steps) == (end - iteration if iteration < end else end)


def test_a_training_that_is_killed_after_its_end_ends_there_again(
    patient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = files_of(patient)
    shutil.rmtree(find_job(patient).checkpoint("train").location)
    with monkeypatch.context() as context:
        context.setattr("dcn.model_file.model_bytes", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_stages(patient, "train")
    run_stages(patient, "train")
    assert files_of(patient) == expected


def test_the_summary_of_an_older_checkpoint_can_be_read(whole: Settings) -> None:
    summary = TrainSummary.read(find_job(whole)).to_json()
    del summary["ended"]
    assert TrainSummary.model_validate(summary).ended == "all iterations are done"


class Heard:
    """A watcher that keeps what the training says about its end."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.ends: list[str] = []

    def start(self, stage: str, total: int, done: int) -> None:
        self.total, self.done = total, done

    def advance(self, stage: str, units: int, note: str) -> None:
        self.done += units

    def end_early(self, stage: str, note: str) -> None:
        assert stage == "train"
        self.ends.append(note)

    def end(self, stage: str) -> None: ...

    def say(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def test_an_early_end_is_said_once_and_a_whole_training_says_none(whole: Settings, patient: Settings) -> None:
    for settings in (whole, patient):
        shutil.rmtree(find_job(settings).checkpoint("train").location)
    heard, heard_early = Heard(), Heard()
    with progress.watched(heard):
        run_stages(whole, "train")
    assert (heard.total, heard.done, heard.ends) == (ITERATIONS, ITERATIONS, [])
    with progress.watched(heard_early):
        run_stages(patient, "train")
    end = expected_iterations(whole)
    assert (heard_early.total, heard_early.done) == (ITERATIONS, end)
    words = f"ended after {end} of {ITERATIONS} iterations: held-out modularity stood still"
    assert heard_early.ends == [words]
    manifest: Manifest = find_job(patient).checkpoint("train").require()
    assert STAGES["train"].remark(manifest) == words


def test_the_announced_sizes_are_those_of_the_files(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    job = find_job(whole)
    layout, folder = STAGES["train"].layout(job), Path(job.checkpoint("train").location)
    assert sum(map(len, files_of(whole).values())) == pytest.approx(layout.extra_bytes, rel=0.03)
    shutil.rmtree(folder)
    with monkeypatch.context() as context:
        context.setattr("dcn.model_file.model_bytes", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_stages(whole, "train")
    state = (folder / "files" / "state.safetensors").stat().st_size
    # While a state is replaced, the old one and the new one are there.
    assert 2 * state == pytest.approx(layout.extra_bytes + layout.temporary_bytes, rel=0.03)


@pytest.mark.parametrize("self_update", [True, False])
def test_the_announced_size_follows_the_network(whole: Settings, self_update: bool) -> None:
    settings = changed(whole, train={"self_update": self_update, "iterations": 2})
    run_stages(settings, "train")
    announced = STAGES["train"].layout(find_job(settings)).extra_bytes
    assert sum(map(len, files_of(settings).values())) == pytest.approx(announced, rel=0.03)


def test_heads_that_do_not_divide_the_whitened_tokens_are_named(copy: Settings) -> None:
    settings = changed(copy, train={"whitened_dims": 6, "heads": 4})
    with pytest.raises(InvalidOptionError, match="tokens of width 6") as caught:
        run_stages(settings, "train")
    assert describe_error(caught.value).endswith("(setting train.heads)")
