"""The command line of a benchmark of one stage: in float32 and in bfloat16, in a folder of its own."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.row import Row, add_json_option, show_rows
from dcn.weights.presets import Precision

# Rows of a stage in a folder, with so many images, in so many pairs, in a precision.
Measure = Callable[[Path, int, int, Precision], list[Row]]


def run_command(description: str | None, measure: Measure, images: int, pairs: int) -> None:
    """``--images``, ``--pairs`` with these defaults, and ``--json``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--pairs", type=int, default=pairs)
    add_json_option(parser)
    arguments = parser.parse_args()
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for precision in precisions
            for row in measure(Path(folder), arguments.images, arguments.pairs, precision)
        ]
    show_rows(rows, arguments.json)
