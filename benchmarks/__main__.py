"""Every benchmark that has a goal, one after the other, as one table.

    python -m benchmarks [--json FILE] [--only extract,embed]

Each runs in a process of its own, so that none inherits memory, threads or a compiled kernel of another. One
that fails is shown as such, and the rest goes on; the exit status is then 1. A missed goal is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.row import Row

# Modules of this package that write rows with --json.
MODULES = (
    "extract",
    "embed",
    "masked_patches",
    "segment",
    "classes",
    "predict",
    "cache_reading",
    "training_step",
    "training_run",
    "evaluation",
    "startup",
)


def run_module(name: str) -> tuple[list[Row], str]:
    """The rows of one module, or the end of what it said when it failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file)]
        finished = subprocess.run(command, check=False, capture_output=True, text=True)
        if finished.returncode or not file.exists():
            said = finished.stderr.strip() or finished.stdout.strip() or "it wrote no rows"
            return [], said.splitlines()[-1]
        return [Row(**row) for row in json.loads(file.read_text())], ""


def describe_machine() -> dict[str, Any]:
    """Where the figures come from."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"processor": _processor(), "cores": cores, "torch": torch.__version__, "device": device}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(rows: list[Row], failed: dict[str, str], machine: dict[str, Any]) -> None:
    """Print the table."""
    title = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, PyTorch {machine['torch']}"
    )
    table = Table("what", "against", "value", "", "goal", "", title=title)
    for row in rows:
        goal = f"{'at least' if row.at_least else 'at most'} {row.goal:g}"
        verdict = "[green]met" if row.met else "[red]missed"
        table.add_row(row.what, row.against, f"{row.value:.3g}", row.unit, goal, verdict)
    for name, reason in failed.items():
        table.add_row(name, "", "", reason, "", "[red]failed")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write machine and rows there too")
    parser.add_argument("--only", type=lambda text: text.split(","), default=MODULES, help="some modules")
    arguments = parser.parse_args()
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for number, name in enumerate(arguments.only, start=1):
        print(f"{number} of {len(arguments.only)}: {name} ...", end=" ", flush=True)
        began = time.monotonic()
        found, reason = run_module(name)
        rows += found
        if reason:
            failed[name] = reason
        print(f"{'failed' if reason else 'done'} in {time.monotonic() - began:.0f} s", flush=True)
    machine = describe_machine()
    show(rows, failed, machine)
    if arguments.json is not None:
        shown = [{**asdict(row), "met": row.met} for row in rows]
        document = {"machine": machine, "rows": shown, "failed": failed}
        arguments.json.write_text(json.dumps(document, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
