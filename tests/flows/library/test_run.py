"""The arrays of a run, as dask arrays with the ids of the photographs beside their rows."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import dcn
from flows.execution.plan import find_job
from flows.library import Run
from flows.settings import Settings
from storage import CheckpointDamagedError, CheckpointMissingError


@pytest.fixture(scope="module")
def run(finished: Settings) -> Run:
    return Run(find_job(finished))


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("tokens", "extract"),
        ("attention", "extract"),
        ("assignment", "segment"),
        ("area", "segment"),
        ("box", "segment"),
        ("foreground", "segment"),
        ("embedding", "embed"),
    ],
)
def test_arrays_are_those_of_the_checkpoints(run: Run, finished: Settings, name: str, stage: str) -> None:
    expected = find_job(finished).checkpoint(stage).array(name).rows(0, 14)
    array = getattr(run, name)
    assert (array.shape, array.dtype, array.chunks[0]) == (expected.shape, expected.dtype, (4, 4, 4, 2))
    for key in (slice(None), slice(3, 11, 3), 5, -1, [9, 2, 2], (slice(2, 9), 1), (..., 0)):
        np.testing.assert_array_equal(array[key].compute(), expected[key])
    np.testing.assert_allclose(abs(array).astype(float).sum().compute(), abs(expected).astype(float).sum())


def test_rows_have_ids(run: Run) -> None:
    assert run.ids.tolist()[:2] == ["left/scene 01", "left/scene 03"]
    assert run.ids[run.row("right/scene 04")] == "right/scene 04"
    with pytest.raises(KeyError, match="no photograph 'scene'"):
        run.row("scene")
    assert run.classes.shape == (14, 3)


def test_a_configuration_opens_its_run(finished: Settings, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(finished.model_dump(mode="json")))
    assert len(dcn.open_run(tmp_path / "mine.yaml").ids) == 14
    with pytest.raises(CheckpointMissingError, match="index"):
        dcn.open_run(tmp_path / "mine.yaml", workspace=str(tmp_path / "other"))
    untrained = dcn.open_run(tmp_path / "mine.yaml", overrides=["train.seed=7"])
    assert untrained.tokens.shape == (14, 16, 192)
    with pytest.raises(CheckpointMissingError, match="segment"):
        untrained.assignment  # noqa: B018 - the access is the test


def test_a_damaged_part_is_an_error(copy: Settings) -> None:
    tokens = find_job(copy).checkpoint("extract")
    part = next(Path(tokens.location, "arrays", "tokens").rglob("c/1/*/*"))
    content = bytearray(part.read_bytes())
    content[100] ^= 1
    part.write_bytes(content)
    run = Run(find_job(copy))
    assert np.isfinite(run.tokens[:4].compute()).all()
    with pytest.raises(CheckpointDamagedError):
        run.tokens[4:8].compute()
