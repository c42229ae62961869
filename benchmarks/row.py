"""A line of the table that ``make bench`` prints, and how a benchmark hands its lines over."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """What was measured, against what, and what it should be.

    Attributes:
        what: was measured.
        against: its reference in the same run; empty where the figure stands alone.
        value: the figure, most often a ratio: the median of several pairs.
        unit: of it, such as ``times as fast``, ``of its speed``, ``s`` or ``GB``.
        goal: where it should be.
        at_least: the goal is a lower limit, not an upper one.
        details: what the figure was made of: seconds, sizes, losses.

    """

    what: str
    against: str
    value: float
    unit: str
    goal: float
    at_least: bool = True
    details: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """``--json FILE``: where the rows go beside the terminal."""
    parser.add_argument("--json", type=Path, help="write the rows there too")


def show_rows(rows: Sequence[Row], json_file: Path | None) -> None:
    """Print the rows, and write them."""
    for row in rows:
        sign, verdict = (">=" if row.at_least else "<="), ("met" if row.met else "MISSED")
        against = f" against {row.against}" if row.against else ""
        print(f"{row.what}{against}: {row.value:.3g} {row.unit} (goal {sign} {row.goal:g}, {verdict})")
        for name, value in row.details.items():
            print(f"    {name}: {value:.4g}")
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=1))
