"""A file system that fails for a moment: whatever was being done is tried again, and no photograph is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from dcn.datasets import FolderDataset
from dcn.images import files
from flows.execution.plan import find_job
from flows.execution.retries import is_transient
from flows.execution.run import compute_shards, run_stage
from flows.inputs.summaries import IndexSummary
from flows.pipeline import FLOWS
from flows.report.contact_sheet import contact_sheet
from flows.stages.index import IndexStage
from storage import FileSystemError
from tests.deployments.deployed import final_state
from tests.flows.helpers import MakeSettings, run_stages


def failing(times: int, number: int, function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """A function of a path that fails so often first, where the path ends like this."""
    left = [times]

    def called(*arguments: Any, **named: Any) -> Any:
        path = next(str(a) for a in arguments if isinstance(a, str | os.PathLike))
        if left[0] and path.endswith(name):
            left[0] -= 1
            raise OSError(number, os.strerror(number), path)
        return function(*arguments, **named)

    return called


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("index", errno.EIO),
        ("index", errno.ESTALE),
        ("index", errno.ETIMEDOUT),
        ("extract", errno.EIO),
        ("embed", errno.EIO),
    ],
)
def test_a_photograph_that_cannot_be_read_just_now_is_not_left_out(
    stage: str, number: int, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings()
    before = {"index": None, "extract": "index", "embed": "segment"}[stage]
    if before:
        run_stages(settings, before)
    monkeypatch.setattr(files, "_content", failing(1, number, files._content, "scene 05.png"))
    with pytest.raises(OSError, match=r"photos/left/scene 05\.png") as caught:
        run_stages(settings, stage)
    assert caught.value.errno == number
    assert is_transient(caught.value)
    result = run_stages(settings, stage)[stage]
    assert not result.reused
    assert not [message for message in result.warnings if "scene 05" in message]
    if stage == "index":
        assert IndexSummary.of(result.manifest).images == 14
        assert IndexSummary.of(result.manifest).labelled == 14


@pytest.mark.parametrize("folder", ["photos", "masks"])
def test_a_photograph_that_is_refused_for_good_is_recorded(
    folder: str, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{folder}/left/scene 05.png"
    monkeypatch.setattr(files, "_content", failing(99, errno.EACCES, files._content, name))
    summary = IndexSummary.of(run_stages(tiny_settings(), "index")["index"].manifest)
    assert summary.refused == 1
    assert summary.images == (13 if folder == "photos" else 14)
    assert summary.labelled == 13


def test_a_listing_that_fails_is_no_listing(photograph_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FolderDataset(
        photograph_folder / "photos", photograph_folder / "masks", photograph_folder / "classes.txt"
    )
    whole = list(dataset.items())
    assert len(whole) == 14
    for broken, name in ((os, "scandir"), (Path, "lstat")):
        with monkeypatch.context() as patch:
            patch.setattr(broken, name, failing(1, errno.EIO, getattr(broken, name), "right"))
            if name == "lstat":
                patch.setattr(broken, name, failing(1, errno.EIO, getattr(broken, name), "scene 03.png"))
            with pytest.raises(OSError, match="Input/output error"):
                list(dataset.items())
            assert list(dataset.items()) == whole


def test_what_comes_before_the_shards_is_attempted_again(
    tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Layout, beginning and preparing of every stage fail once each."""
    settings = tiny_settings()
    attempts: list[str] = []

    def attempt(what: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        while True:
            attempts.append(what)
            try:
                return work()
            except FileSystemError:
                continue

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        left = [True]

        def called(*arguments: Any) -> Any:
            if left.pop() if left else False:
                raise FileSystemError("it cannot be read just now", errno.EIO)
            return function(*arguments)

        return called

    for name in ("layout", "prepare"):
        monkeypatch.setattr(IndexStage, name, once(getattr(IndexStage, name)))
    result = run_stage(find_job(settings, "index"), "index", compute_shards, lambda _: None, attempt=attempt)
    assert attempts == ["begin", "begin", "begin", "rest"]
    assert result.manifest.complete
    undisturbed = settings.model_copy(update={"workspace": str(tmp_path / "undisturbed")})
    assert run_stages(undisturbed, "index")["index"].manifest.content == result.manifest.content


def test_a_picture_is_not_worth_a_run(tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifacts of a stage that is complete are made outside of any task."""
    settings = tiny_settings()
    run_stages(settings, "segment")
    monkeypatch.setattr(files, "_content", failing(1, errno.EIO, files._content, ".png"))
    assert contact_sheet(find_job(settings), 3, semantic=False)
    monkeypatch.setattr(files, "_content", failing(99, errno.EIO, files._content, ".png"))
    assert contact_sheet(find_job(settings), 3, semantic=False) is None


@pytest.fixture
def client(prefect_server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    address = prefect_server["PREFECT_API_URL"]
    with temporary_settings({PREFECT_API_URL: address}), SyncPrefectClient(address) as client:
        yield client


@pytest.mark.slow
def test_a_flow_lists_prepares_and_reads_again(
    client: SyncPrefectClient, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings()
    monkeypatch.setattr(os, "scandir", failing(1, errno.EIO, os.scandir, "photos/right"))
    monkeypatch.setattr(files, "_content", failing(1, errno.ESTALE, files._content, "scene 05.png"))
    prepare = IndexStage.prepare
    left = [True]

    def prepare_later(self: IndexStage, job: Any) -> None:
        if left:
            left.pop()
            raise FileSystemError("it cannot be written just now", errno.EIO)
        prepare(self, job)

    monkeypatch.setattr(IndexStage, "prepare", prepare_later)
    state = final_state(FLOWS["index"], settings)
    assert state.is_completed(), state
    summary = IndexSummary.read(find_job(settings, "index"))
    assert (summary.images, summary.refused) == (14, 0)
