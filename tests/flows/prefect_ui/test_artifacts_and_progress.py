"""The page of a flow run with hostile names, after a failure, and with progress that costs few requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.execution.plan import find_job
from flows.pipeline import FLOWS
from flows.prefect_ui import markdown
from flows.prefect_ui.progress import PageProgress
from flows.printable import printable, printable_line
from flows.settings import Settings
from tests.conftest import draw_scene
from tests.deployments.deployed import Deployed, final_state, percent_of, text_of
from tests.flows.helpers import MakeSettings, changed, without_truth

# Names that a file can have. The slash in the first one makes a folder.
HOSTILE = [
    "<script>alert(1)</script>.png",
    '<img src=x onerror="alert(1)">.png',
    "[x](javascript:alert(1)).png",
    "![x](http:tracker).png",
    "`tick` ```fence``` | pipe.png",
    "*bold* _slanted_ __strong__ ~~gone~~.png",
    "# heading.png",
    "- item.png",
    "line\nbreak\n\n# heading.png",
    "&lt;b&gt; &amp;.png",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe \x1b[31mred.png",
]


class AnyLink(MarkdownIt):
    """A renderer that makes a link of every address."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the name is that of the library
        return True


# The renderer interprets HTML and more Markdown than Prefect's pages do, so the tests are stricter.
RENDERER = AnyLink("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Rendered(HTMLParser):
    """The HTML elements and the text of rendered Markdown."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(RENDERER.render(source))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def visible(text: str) -> str:
    """A name as a page may show it: one line, and nothing that hides."""
    return " ".join(printable(text).split())


@given(st.text(max_size=60) | st.text("`_*[]<>|#-+. \n1)(a&\\!~=:", max_size=60))
def test_any_text_in_a_cell_is_shown_verbatim(text: str) -> None:
    rendered = Rendered(markdown.cell(text))
    assert rendered.elements <= {"p", "code"}
    assert " ".join(rendered.text.split()) == visible(text)


@given(st.text(max_size=60) | st.text("`_*[]<>|#-+. \n1)(a&\\!~=:", max_size=60))
def test_any_text_in_a_block_is_shown_verbatim(text: str) -> None:
    rendered = Rendered(f"before\n\n{markdown.block(text)}\n\nafter *that*\n")
    assert rendered.elements == {"p", "pre", "code", "em"}
    assert visible(rendered.text) == visible(f"before {text} after that")


def test_text_without_markdown_is_not_escaped() -> None:
    for text in ("upper_bound.accuracy", "0.123 ± 0.004", "evaluate/0f3a", "47.1° / 60.2°", ""):
        assert markdown.cell(text) == text


@pytest.mark.parametrize(
    "name", ["report.html", "a)b](c) *d* `e` <f>.html", "caf\N{LATIN SMALL LETTER E WITH ACUTE}.html"]
)
def test_a_link_to_a_file_is_its_address(tmp_path: Path, name: str) -> None:
    address = (tmp_path / name).as_uri()
    rendered = Rendered(markdown.link_to_file(str(tmp_path / name)))
    assert rendered.elements == {"p", "a", "code"}
    assert rendered.text.strip() == address
    assert rendered.links == [address]


def test_a_file_on_an_object_store_is_no_link() -> None:
    rendered = Rendered(markdown.link_to_file("s3://bucket/report/0f3a/files/report.html"))
    assert "a" not in rendered.elements
    assert rendered.text.strip() == "s3://bucket/report/0f3a/files/report.html"


@pytest.fixture
def server(prefect_server: dict[str, str], tmp_path: Path) -> Iterator[Deployed]:
    with temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        yield Deployed(prefect_server, tmp_path)


@pytest.fixture
def hostile_settings(tiny_settings: MakeSettings, tmp_path: Path) -> Settings:
    """One photograph that can be read, and files with hostile names that cannot."""
    root = tmp_path / "hostile"
    for name in HOSTILE:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no photograph")
    Image.fromarray(draw_scene(0)[0]).save(root / "good.png")
    return tiny_settings(dataset=without_truth(root))


@pytest.mark.slow
def test_hostile_names_are_shown_verbatim(server: Deployed, hostile_settings: Settings) -> None:
    state = final_state(FLOWS["index"], hostile_settings)
    assert state.is_completed()
    rows = json.loads(text_of(server.artifacts(state.state_details.flow_run_id)["index-warnings"]))
    shown = [Rendered(row["warning"]) for row in rows]
    assert all(rendered.elements <= {"p", "code"} for rendered in shown)
    for name in HOSTILE:
        begin = visible(f"{printable_line(name)} was refused: ")
        assert sum(rendered.text.strip().startswith(begin) for rendered in shown) == 1, begin


@pytest.mark.slow
@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "```\n# [x](javascript:alert(1))", "`|`"])
def test_the_page_of_a_failed_run_shows_the_cause_and_advice(
    server: Deployed, tiny_settings: MakeSettings, tmp_path: Path, name: str
) -> None:
    settings = tiny_settings(dataset={"root": str(tmp_path / name)})
    state = final_state(FLOWS["extract"], settings)
    assert state.is_failed()
    assert str(state.message).startswith(
        "Flow run encountered an exception: InvalidDatasetError: there is no folder"
    )
    failure = server.artifacts(state.state_details.flow_run_id)["failure"]
    rendered = Rendered(text_of(failure))
    assert rendered.elements <= {"h1", "p", "pre", "code"}
    expected = f"InvalidDatasetError: there is no folder {tmp_path / name} (setting dataset.root)"
    assert visible(expected) in visible(rendered.text)
    assert "Put it right, then run this again: the same command." in rendered.text
    with pytest.raises(Exception, match="there is no folder"):
        state.result()


@pytest.mark.slow
def test_the_page_names_a_damaged_checkpoint(server: Deployed, copy: Settings) -> None:
    settings = changed(copy, train={"seed": 1})
    path = Path(find_job(settings).checkpoint("extract").location)
    chunk = next(file for file in (path / "arrays" / "tokens" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    state = final_state(FLOWS["train"], settings)
    failure = server.artifacts(state.state_details.flow_run_id)["failure"]
    assert "CheckpointDamagedError" in text_of(failure)
    assert str(path / "arrays" / "tokens") in text_of(failure)


@pytest.mark.slow
def test_progress_sends_few_requests_to_the_server(server: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand steps in less than a second send at most two requests, and never wait for them."""
    requests: list[float] = []
    from flows.prefect_ui import progress as page_progress

    for name in ("create_progress_artifact", "update_progress_artifact"):
        ask = getattr(page_progress, name)

        def counted(*arguments: Any, ask: Callable[..., Any] = ask) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            requests.append(time.monotonic())
            return ask(*arguments)

        monkeypatch.setattr(page_progress, name, counted)

    @flow(persist_result=False)
    def steps() -> None:
        with PageProgress("train") as page:
            page.start("train", 10_000, 0)
            began = time.process_time()
            for _ in range(10_000):
                page.advance("train", 1, "loss")
                page.advance("segment", 1, "of another stage")
            assert time.process_time() - began < 2

    state = steps(return_state=True)
    assert state.is_completed()
    assert 1 <= len(requests) <= 2
    progress = server.artifacts(state.state_details.flow_run_id)["train-progress"]
    assert percent_of(progress) == 100.0
    assert progress.description == "train 10000/10000 loss"


@pytest.mark.slow
def test_progress_is_visible_while_a_stage_runs(server: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.prefect_ui import progress as page_progress

    monkeypatch.setattr(page_progress, "_INTERVAL", 0.1)
    seen: list[float] = []

    @flow(persist_result=False)
    def steps() -> None:
        from prefect.runtime import flow_run

        with PageProgress("train") as page:
            page.start("train", 4, 1)
            for _ in range(3):
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline:
                    found = server.artifacts(UUID(str(flow_run.get_id()))).get("train-progress")
                    if found is not None and percent_of(found) not in seen:
                        seen.append(percent_of(found))
                        break
                page.advance("train", 1, "")

    steps()
    assert seen == [25.0, 50.0, 75.0]


@pytest.mark.slow
def test_a_stage_that_ends_early_is_shown_as_done(server: Deployed) -> None:
    note = "ended after 3 of 10 iterations: held-out modularity stood still"

    @flow(persist_result=False)
    def steps() -> None:
        with PageProgress("train") as page:
            page.start("train", 10, 0)
            page.advance("train", 3, "loss")
            page.end_early("segment", "of another stage")
            page.end_early("train", note)

    state = steps(return_state=True)
    progress = server.artifacts(state.state_details.flow_run_id)["train-progress"]
    assert percent_of(progress) == 100.0
    assert progress.description == f"train 3/3 {note}"


@pytest.mark.slow
def test_progress_counts_the_work_of_dask_workers(server: Deployed, tiny_settings: MakeSettings) -> None:
    settings = tiny_settings(runner={"kind": "dask", "workers": 2}, shard_images=2)
    state = final_state(FLOWS["extract"], settings)
    assert state.is_completed()
    progress = server.artifacts(state.state_details.flow_run_id)["extract-progress"]
    assert progress.description == "extract 14/14"
    assert percent_of(progress) == 100.0
