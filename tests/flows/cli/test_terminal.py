"""Progress in a terminal, and in lines of text without one."""

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli import terminal
from flows.cli.terminal import TerminalProgress

WORDS = "ended after 3 of 10 iterations: held-out modularity stood still"
NOTE = "loss -0.1234, 4.3 regions per image, 5 prototypes in use"


def shown(width: int, total: int, done: int) -> str:
    """The last state of the bar of a training in a terminal of this width."""
    output = io.StringIO()
    with TerminalProgress(Console(file=output, force_terminal=True, color_system=None, width=width)) as bars:
        bars.start("embed_truth", total, 0)
        for _ in range(2):
            time.sleep(0.01)
            bars.advance("embed_truth", done // 2, NOTE)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue()).splitlines()[-1]


def test_at_80_columns_the_bar_keeps_count_and_time_and_cuts_the_note() -> None:
    line = shown(80, 123_456, 1000)
    assert "embed_truth" in line
    assert "  1000/123456" in line
    assert re.search(r"\d\d:\d\d", line)
    assert len(line.rstrip()) <= 80
    assert NOTE not in line
    assert "loss" in line
    assert NOTE in shown(140, 123_456, 1000)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stage_that_ends_early_is_full_and_says_why(terminal: bool) -> None:
    output = io.StringIO()
    with TerminalProgress(Console(file=output, force_terminal=terminal, width=140)) as bars:
        bars.start("train", 10, 1)
        bars.advance("train", 1, "loss -0.1")
        bars.advance("train", 1, "loss -0.2")
        bars.end_early("train", WORDS)
        bars.end("train")
        bars.start("segment", 4, 0)
    lines = [line for line in output.getvalue().splitlines() if WORDS in line]
    assert "3/3" in lines[-1]
    assert "10" not in lines[-1].replace(WORDS, "")


def test_without_a_terminal_a_line_tells_of_the_begin_of_the_end_and_of_the_time_between(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file is flushed by line, so somebody who follows it sees the same."""
    monkeypatch.setattr(terminal, "_LINE_INTERVAL", 0.05)
    log = tmp_path / "log"
    with log.open("w") as file, TerminalProgress(Console(file=file, width=80)) as bars:
        bars.start("extract", 1000, 64)
        time.sleep(0.12)  # a long shard: nothing advances, and still lines come
        bars.advance("extract", 400, "")
        bars.advance("extract", 436, "")
        time.sleep(0.08)
        bars.advance("extract", 100, "")
        time.sleep(0.12)  # the results are checked
        bars.end("extract")
        time.sleep(0.12)  # no stage runs
        bars.start("train", 2, 0)
    lines = log.read_text().splitlines()
    assert lines[0] == "extract 64/1000"
    assert lines[1] == "extract 64/1000"
    between = lines[2 : lines.index("extract 1000/1000, finishing")]
    assert re.fullmatch(r"extract 900/1000, 0:00:\d\d left", between[-1])
    assert lines[-3] == "extract 1000/1000, finishing"
    assert re.fullmatch(r"extract 1000/1000, done in 0:00:0\d", lines[-2])
    assert lines[-1] == "train 0/2"
