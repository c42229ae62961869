"""Untrusted names stay plain text in pages, which a real browser opens, and in the terminal."""

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from flows.compare.page import write_comparison
from flows.compare.variants import Variant
from flows.execution.plan import find_job
from flows.printable import printable, printable_line
from flows.report.page import page_script, render
from flows.settings import Settings
from tests.browser import ShownPage, browse
from tests.conftest import draw_scene
from tests.flows.helpers import changed, command, run_stages

pytestmark = pytest.mark.slow

SCRIPT = "<script>document.title = 'owned'</script>"
HANDLER = "x\" onerror=\"document.title='owned'"
TITLE = "\x1b]0;owned\x07"  # sets the title of a terminal window
NAMES = (
    HANDLER,
    f"{TITLE}red\x1b[31m",
    "[red]not red",
    "[link=x]not a link",
    ":boom:",
    "two\nlines",
    "caf\udce9",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs and empty files with hostile names, and masks of classes with hostile names."""
    root = tmp_path_factory.mktemp("names")
    photographs = root / "photographs"
    names = [*NAMES, f"{SCRIPT}"]  # the slash in it makes a folder
    for seed, name in enumerate(names):
        pixels, labels = draw_scene(seed)
        for place, picture in (("photographs", pixels), ("masks", labels)):
            path = root / place / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, format="PNG")
    for name in names:
        (photographs / f"broken {name}.jpg").parent.mkdir(parents=True, exist_ok=True)
        (photographs / f"broken {name}.jpg").write_bytes(b"")
    (root / "classes.txt").write_text(f"background\n{SCRIPT}\n[red] $x_{{$ :boom:\n")
    return root


@pytest.fixture(scope="module")
def finished(folder: Path, tiny_config: dict[str, Any]) -> Settings:
    dataset = {
        "name": "folder",
        "root": str(folder / "photographs"),
        "masks": str(folder / "masks"),
        "classes": str(folder / "classes.txt"),
    }
    settings = Settings.model_validate(
        {
            **tiny_config,
            "dataset": dataset,
            "report": {"num_photographs": len(NAMES) + 1},
            "workspace": str(folder / "workspace"),
        }
    )
    run_stages(settings)
    return settings


@pytest.fixture(scope="module")
def pages(finished: Settings) -> dict[str, Path]:
    """The report of the run, and the comparison of two variants with hostile names."""
    rival = changed(finished, segment={"segmenter": {"name": "kmeans", "num_regions": 2}})
    run_stages(rival, "evaluate")
    checkpoint, _ = write_comparison([Variant(SCRIPT, "sweep", finished), Variant(HANDLER, "sweep", rival)])
    return {
        "report": Path(find_job(finished).checkpoint("report").location, "files") / "report.html",
        "comparison": Path(checkpoint.location, "files") / "comparison.html",
    }


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_names_are_text_in_a_browser(pages: dict[str, Path], name: str, tmp_path: Path) -> None:
    shown = browse(pages[name], tmp_path / "profile", "--dump-dom")
    page = ShownPage(shown.stdout)
    assert not page.runs_something
    assert "<title>owned" not in shown.stdout
    assert "CONSOLE" not in shown.stderr
    expected = [SCRIPT, *map(printable, NAMES)]
    expected += [f"broken {one}.jpg" for one in expected] if name == "report" else []
    for text in expected:
        assert text in page.text, text


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_names_are_text_in_a_parser(pages: dict[str, Path], name: str) -> None:
    """The same without a browser. The parser does find code that is not escaped."""
    source = pages[name].read_text()
    assert not ShownPage(source).runs_something
    assert ShownPage(f"{source}{SCRIPT}").runs_something
    assert (f"<script>{page_script()}</script>" in source) == (name == "report")
    assert not set(source) & {chr(code) for code in range(32) if chr(code) not in "\n\t"}


def test_a_template_escapes_all_values() -> None:
    page = render(
        "comparison.html.j2", dataset=SCRIPT, titles=[SCRIPT], cells=[[TITLE, SCRIPT]], chosen=SCRIPT, curves=None, ladder=HANDLER, columns=[HANDLER],
        photographs=[{"id": SCRIPT, "pictures": [HANDLER]}], inputs={HANDLER: "\udcff"},
    )  # fmt: skip
    shown = ShownPage(page.decode())
    assert not shown.runs_something
    assert "\\xff" in shown.text
    assert "\\x1b]0;owned\\x07" in shown.text


def controls(output: bytes) -> set[bytes]:
    """Control characters in the output, except line breaks."""
    return {bytes([byte]) for byte in output if byte < 32 or byte == 127} - {b"\n"}


def test_names_are_text_in_the_warnings_of_a_run(
    finished: Settings, prefect_server: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "names.yaml"
    config.write_text(yaml.safe_dump(finished.model_dump(mode="json")))
    for workspace in (finished.workspace, tmp_path / "anew"):  # repeated warnings, then new ones
        done = subprocess.run(
            command("index", config, "--workspace", workspace),
            env=prefect_server,
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert not controls(done.stdout + done.stderr)
        for name in NAMES:
            warning = f"warning broken {printable_line(name)}.jpg was refused: the file is empty"
            assert warning in done.stderr.decode(), name


def test_names_are_text_in_the_output_of_predict(finished: Settings, folder: Path, tmp_path: Path) -> None:
    """A pipe gets no control characters, a terminal only those of the command's own colors."""
    model = Path(find_job(finished).checkpoint("train").location)
    images = [folder / "photographs" / f"{prefix}{name}" for name in NAMES for prefix in ("broken ", "")]
    images = [
        image.with_name(f"{image.name}.{'jpg' if 'broken' in image.name else 'png'}") for image in images
    ]
    arguments = command("predict", *images, "--model", model, "--output", tmp_path / "out")
    done = subprocess.run(arguments, capture_output=True, timeout=300)
    assert done.returncode == 1
    assert not controls(done.stdout + done.stderr)
    assert "Traceback" not in done.stderr.decode()
    for name in NAMES:
        assert f"broken {printable_line(name)}.jpg: the file is empty" in done.stderr.decode(), done.stderr
    for folder_of_results in ("regions", "semantic", "overlays"):
        assert len(list((tmp_path / "out" / folder_of_results).iterdir())) == len(NAMES)

    shutil.rmtree(tmp_path / "out")
    output = in_a_terminal(arguments)
    assert b"\x1b[31m" in output  # the color of the word "refused": this is a terminal
    assert TITLE.encode() not in output
    assert b"\x1b]" not in output  # neither a title nor a link
    assert output.count(b"\x1b[31m") == len(NAMES)
    # Colors, and what the progress bar does: it hides the cursor, and draws its line again.
    output = re.sub(rb"\x1b\[([0-9;]*m|\?25[lh]|2K|1A)", b"", output)
    assert b"\x1b" not in output
    assert b"[red]not red" in output
    assert b"[link=x]not a link" in output
    assert b":boom:" in output


def in_a_terminal(arguments: list[str]) -> bytes:
    """Run a command in a pseudo-terminal; returns everything that it writes there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "400"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # Linux reports a closed other end as an error
            part = b""
        if not part:
            break
        output += part
    process.wait(60)
    os.close(ours)
    return output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ümläut, 家, 👩\u200d🚀", "plain, ümläut, 家, 👩\u200d🚀"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x9bb\x7f", "a\\x9bb\\x7f"),
        ("caf\udce9 \ud800", "caf\\xe9 \\ud800"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("one\ntwo\rthree\u2028", "one\ntwo\\x0dthree\\u2028"),
    ],
)
def test_only_unprintable_characters_are_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable_line(text) == shown.replace("\n", "\\x0a")
