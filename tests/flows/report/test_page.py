"""Pages are escaped, allow only their own script, and change their key when their look changes."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.report import page
from flows.report.headline import headline_metrics
from flows.report.page import page_script, render, script_json, template_digest
from flows.settings import Settings
from tests.browser import ShownPage
from tests.flows.helpers import MakeSettings, run_stages, without_truth

HOSTILE = "</script><script>alert(1)</script><!--\u2028\x1b"


def test_no_text_can_end_the_script_that_holds_it() -> None:
    content = script_json({"names": [HOSTILE], "number": 1.5, "nothing": None})
    assert "<" not in content
    assert content.isascii()
    assert json.loads(content) == {
        "names": ["</script><script>alert(1)</script><!--\\u2028\\x1b"],
        "number": 1.5,
        "nothing": None,
    }


def test_a_page_without_data_has_no_script_and_allows_none() -> None:
    shown = render("comparison.html.j2", dataset="d", titles=[], cells=[], curves=None, columns=[], photographs=[],
                   inputs={}, chosen=None, ladder=None).decode()  # fmt: skip
    assert "<script" not in shown
    assert "script-src" not in shown
    assert "default-src 'none'" in unescape(shown)


@pytest.mark.parametrize("file", ["templates/page.html.j2", "templates/report.html.j2", "assets/page.css",
                                  "assets/maps.js", "assets/names.js"])  # fmt: skip
def test_every_file_of_a_page_is_in_its_digest(
    file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = template_digest("report.html.j2")
    for kind in ("templates", "assets"):
        (tmp_path / kind).mkdir()
        for path in Path(str(page._PACKAGE), kind).iterdir():
            (tmp_path / kind / path.name).write_text(path.read_text())
    monkeypatch.setattr(page, "_PACKAGE", tmp_path)
    assert template_digest("report.html.j2") == before
    with (tmp_path / file).open("a") as opened:
        opened.write(" ")
    assert template_digest("report.html.j2") != before


def test_the_script_names_no_column() -> None:
    """What the columns are called depends on the data set, so the script gets it."""
    assert "ground truth" not in page_script()


@pytest.mark.slow
def test_every_tile_explains_itself(finished: Settings) -> None:
    job = find_job(finished)
    shown = unescape(job.checkpoint("report").read_file("report.html").decode())
    headlines = headline_metrics(read_results(job))
    assert len(headlines) > 8
    for headline in headlines:
        assert headline.explanation.endswith("."), headline
        assert f'<dd class="explanation">{headline.explanation}</dd>' in shown


@pytest.mark.slow
def test_a_folder_names_its_page_and_without_ground_truth_no_word_speaks_of_it(
    photograph_folder: Path, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "my <i>holiday"
    folder.symlink_to(photograph_folder / "photos")
    settings = tiny_settings(dataset=without_truth(folder), evaluate={"attainable_images": 0})
    run_stages(settings)
    source = find_job(settings).checkpoint("report").read_file("report.html").decode()
    assert "<h1>my &lt;i&gt;holiday</h1>" in source
    assert "<title>my &lt;i&gt;holiday: regions and classes</title>" in source
    assert not re.search(r"ground.truth|\blabelled\b", source, re.IGNORECASE)
    assert "In the style of the paper's figures" in unescape(source)
    assert not ShownPage(source).runs_something
    other = tmp_path / "other"
    other.symlink_to(photograph_folder / "photos")
    renamed = run_stages(tiny_settings(dataset=without_truth(other), evaluate={"attainable_images": 0}))
    assert [stage for stage, result in renamed.items() if not result.reused] == ["report"]
