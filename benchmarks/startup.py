"""Time before a command does its work: a run with nothing to do, commands that only read, and mistakes.

    python -m benchmarks.startup [--pairs 5] [--workspace DIR] [--json FILE]

Everything runs in processes of its own, interleaved, and without a Prefect server. The reference of ``dcn
run`` imports PyTorch, which every run that computes something has to do. Commands that only read are measured
by their processor time, mistakes by the seconds until their message. The first ``dcn run sample`` is not
measured; it needs the weights of focus-s14.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.row import Row, add_json_option, show_rows

IMPORTS = "import torch"
# Empty: the server of the user, if there is one, is not asked.
ENVIRONMENT = {"PREFECT_API_URL": ""}


@dataclass(frozen=True)
class Taken:
    """Seconds that a process took: on the clock, and of processors."""

    clock: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workspace", help="of a sample that was run; default: a temporary one")
    add_json_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as empty:
        workspace = arguments.workspace or folder
        run = ["run", "sample", "--workspace", workspace]
        take(["-m", "flows", *run])
        reading = reading_commands(workspace, empty)
        mistakes = {
            "a wrong path": ["run", str(Path(empty) / "mine.yaml")],
            "an empty folder": [*run, "--set", f"dataset={{name: folder, root: {empty}}}"],
            "an unknown backbone": [*run, "--set", "backbone.name=dino-s88"],
            "an unknown setting": [*run, "--set", "train.iteratons=3"],
        }
        commands = {"run": run, "help": ["--help"], **reading, **mistakes}
        seconds: dict[str, list[Taken]] = {name: [] for name in [*commands, "imports"]}
        for _ in range(arguments.pairs):
            seconds["imports"].append(take(["-c", IMPORTS]))
            for name, command in commands.items():
                code = 1 if name in mistakes else None
                seconds[name].append(take(["-m", "flows", *command], code))
    clock = {name: statistics.median(one.clock for one in found) for name, found in seconds.items()}
    processor = {name: statistics.median(one.processor for one in found) for name, found in seconds.items()}
    pairs = zip(seconds["run"], seconds["imports"], strict=True)
    more = statistics.median(run.clock - imports.clock for run, imports in pairs)
    details = {"s of dcn run": clock["run"], "s of the import": clock["imports"]}
    show_rows(
        [
            Row("dcn run with nothing to do", "Python importing PyTorch", more, "s more", 3,
                at_least=False, details=details),
            Row("dcn --help", "", clock["help"], "s", 0.5, at_least=False),
            *(
                Row(f"dcn {name}", "", processor[name], "s of processor", 1.5, at_least=False,
                    details={"s on the clock": clock[name]})
                for name in reading
            ),
            *(
                Row(f"{name} is said", "", clock[name], "s", 2, at_least=False,
                    details={"s of processor": processor[name]})
                for name in mistakes
            ),
        ],
        arguments.json,
    )  # fmt: skip


def reading_commands(workspace: str, empty: str) -> dict[str, list[str]]:
    """The commands that read checkpoints. ``export`` ends where it would begin to read arrays."""
    return {
        "status": ["status", "sample", "--workspace", workspace],
        "results": ["results", "sample", "--workspace", workspace],
        "export up to its first array": ["export", "sample", "--output", empty, "--workspace", empty],
        "workspace list": ["workspace", "list", "--workspace", workspace],
        "workspace list sample": ["workspace", "list", "sample", "--workspace", workspace],
        "settings": ["settings"],
    }


def take(arguments: list[str], code: int | None = 0) -> Taken:
    """Run a process of Python, which has to end with ``code``; None accepts every code."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    result = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
    )
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code is not None and result.returncode != code:
        raise SystemExit(f"{arguments} ended with {result.returncode}: {result.stderr}")
    return Taken(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
