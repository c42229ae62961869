"""The measurements of ``benchmarks.growth`` as one plot and one table.

    python -m benchmarks.growth --input-sizes 64,128,256 --regions 2,5,10 --json growth.json
    python -m benchmarks.growth_plot growth.json docs/how-it-works/growth.svg

The table goes to the terminal, as Markdown. Six panels: seconds above, peak memory below; against the number
of images, the tokens of an image, and k. A line as steep as the grey one grows in proportion.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What varies, and what was measured, by their names in the file.
AXES = {"images": "images", "tokens": "tokens of an image", "k": "regions of an image, k"}
FIGURES = {"s": "seconds", "MiB": "peak memory, MiB"}
NOTHING = "(nothing)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measured", type=Path)
    parser.add_argument("plot", type=Path)
    arguments = parser.parse_args()
    measured: list[dict[str, Any]] = json.loads(arguments.measured.read_text())
    mpl.rcParams["svg.hashsalt"] = "growth"  # the same file from the same figures
    plot(measured).savefig(arguments.plot, metadata={"Date": None})
    print(table(measured))


def plot(measured: list[dict[str, Any]]) -> Figure:
    """A panel for each pair of what varies and what was measured."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplots(len(FIGURES), len(AXES))
    for column, axis in enumerate(AXES):
        rows = [row for row in varied(measured, axis) if row["stage"] != NOTHING]
        for line, figure_name in enumerate(FIGURES):
            _draw(panels[line][column], rows, axis, figure_name)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def varied(measured: list[dict[str, Any]], axis: str) -> list[dict[str, Any]]:
    """Rows in which only ``axis`` differs from the smallest run."""
    least = {other: min(row[other] for row in measured) for other in ("images", "tokens")}
    least["k"] = next(row["k"] for row in measured if all(row[name] == least[name] for name in least))
    return [row for row in measured if all(row[other] == least[other] for other in AXES if other != axis)]


def _draw(panel: Axes, rows: list[dict[str, Any]], axis: str, figure: str) -> None:
    for stage in dict.fromkeys(row["stage"] for row in rows):
        points = sorted({(row[axis], row[figure]) for row in rows if row["stage"] == stage})
        panel.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1.2, label=stage)
    panel.set_xscale("log")
    values = sorted({row[axis] for row in rows})
    panel.set_xticks(values, [f"{value:,}" for value in values])
    panel.tick_params(which="minor", bottom=False, labelbottom=False)
    if figure == "s":
        panel.set_yscale("log")
        top = max(row[figure] for row in rows)
        proportional = [top * value / values[-1] for value in values]
        panel.plot(values, proportional, color="0.8", linewidth=5, zorder=0, label="in proportion")
    else:
        panel.set_ylim(bottom=0)
    panel.set_xlabel(AXES[axis])
    panel.set_ylabel(FIGURES[figure])
    panel.spines[["top", "right"]].set_visible(False)


def table(measured: list[dict[str, Any]]) -> str:
    """A line for each stage: seconds, and MiB, of every run."""
    runs = list(dict.fromkeys((row["images"], row["tokens"], row["k"]) for row in measured))
    cells = {(row["stage"], row["images"], row["tokens"], row["k"]): row for row in measured}
    lines = [_line(["images, n, k", *(f"{images:,}, {tokens}, {k}" for images, tokens, k in runs)])]
    lines.append("|---" * (len(runs) + 1) + "|")
    for stage in dict.fromkeys(row["stage"] for row in measured):
        found = [cells[stage, *run] for run in runs]
        lines.append(_line([stage, *(f"{row['s']:.1f} s, {row['MiB']:.0f} MiB" for row in found)]))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
