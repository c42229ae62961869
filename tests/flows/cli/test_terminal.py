"""Progress in a terminal: a stage that ends early has a full bar, and says why."""

import io

import pytest
from rich.console import Console

from flows.cli.terminal import TerminalProgress

WORDS = "ended after 3 of 10 iterations: held-out modularity stood still"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stage_that_ends_early(terminal: bool) -> None:
    output = io.StringIO()
    with TerminalProgress(Console(file=output, force_terminal=terminal, width=140)) as bars:
        bars.start("train", 10, 1)
        bars.advance("train", 1, "loss -0.1")
        bars.advance("train", 1, "loss -0.2")
        bars.end_early("train", WORDS)
        bars.start("segment", 4, 0)
    lines = [line for line in output.getvalue().splitlines() if WORDS in line]
    assert "3/3" in lines[-1]
    assert "10" not in lines[-1].replace(WORDS, "")
