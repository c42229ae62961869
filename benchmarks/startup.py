"""A second ``dcn run`` with nothing to do against Python and Prefect starting up, and ``dcn --help``.

    python -m benchmarks.startup [--pairs 5] [--workspace DIR] [--json FILE]

Everything runs in processes of its own, interleaved, with a home of Prefect's of its own: in an old one the
server has more to clear away. The reference imports prefect and runs an empty flow on the temporary server
that a flow starts for itself. The first ``dcn run sample`` is not measured; it needs focus-s14's weights.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.row import Row, add_json_option, show_rows

EMPTY_FLOW = "import prefect\n@prefect.flow\ndef empty(): pass\nempty()"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workspace", help="of a sample that was run; default: a temporary one")
    add_json_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        os.environ["PREFECT_HOME"] = home
        run = ["-m", "flows", "run", "sample", "--workspace", arguments.workspace or folder]
        seconds_of(run)
        commands = {"run": run, "prefect": ["-c", EMPTY_FLOW], "help": ["-m", "flows", "--help"]}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.pairs):
            for name, command in commands.items():
                seconds[name].append(seconds_of(command))
    more = statistics.median(a - b for a, b in zip(seconds["run"], seconds["prefect"], strict=True))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    details = {"s of dcn run": medians["run"], "s of prefect": medians["prefect"]}
    show_rows(
        [
            Row("dcn run with nothing to do", "Python and Prefect starting", more, "s more", 3,
                at_least=False, details=details),
            Row("dcn --help", "", medians["help"], "s", 0.5, at_least=False),
        ],
        arguments.json,
    )  # fmt: skip


def seconds_of(arguments: list[str]) -> float:
    """Seconds of a process of Python in which Prefect is as quiet, and as patient, as in ``dcn``."""
    settings = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=os.environ | settings, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
