"""Feed damaged files to everything that reads bytes of strangers.

    python -m tests.soak.fuzz [--inputs 5000] [--seed 0] [--reader NAME]

Each reader gets so many inputs in a process of its own. It must read them or refuse them with an error that a user
sees as a sentence, each within 10 seconds. The process must not crash, and must not take more than 2 GB of memory.
"""

from __future__ import annotations

import argparse
import faulthandler
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.soak.strangers import inputs, readers

_SECONDS = 10.0
_MOST_KILOBYTES = 2_000_000


def feed(name: str, count: int, chosen_seed: int) -> str:
    """Feed inputs to one reader in this process; returns how it went."""
    reader = readers()[name]
    read = refused = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as root:

        @seed(chosen_seed)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(content=inputs(name, reader))
        def check(content: bytes) -> None:
            nonlocal read, refused, slowest
            began = time.monotonic()
            faulthandler.dump_traceback_later(_SECONDS, exit=True)  # native code hangs, too
            try:
                reader.read(content, Path(root))
                read += 1
            except reader.allowed:
                refused += 1
            finally:
                faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.monotonic() - began)

        check()
    return f"{name}: {read} read, {refused} refused, slowest {slowest:.2f} s"


def peak_kilobytes() -> int:
    """Largest memory of this process so far."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=list(readers()))
    arguments = parser.parse_args()
    if arguments.reader:
        result = feed(arguments.reader, arguments.inputs, arguments.seed)
        memory = peak_kilobytes()
        print(f"{result}, {memory / 1e6:.2f} GB", flush=True)
        sys.exit(f"{arguments.reader} took more than 2 GB" if memory > _MOST_KILOBYTES else 0)
    numbers = ["--inputs", str(arguments.inputs), "--seed", str(arguments.seed)]
    failed = []
    for name in readers():
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-m", "tests.soak.fuzz", "--reader", name, *numbers]
        )
        failed += [f"{name} ({done.returncode})"] if done.returncode else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
