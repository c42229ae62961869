"""Write and read arrays under load until the time is over, and count crashes of the native libraries.

    python -m tests.soak.native [--minutes 60] [--processes 4]

Each process writes checkpoints shard by shard from several threads, reads their rows in random order at the same
time, and compares every value. The processes are more than the cores, so that threads of tensorstore lose the
processor at any moment. A process that ends by a signal (SIGSEGV, SIGABRT, SIGBUS) is a crash of native code;
faulthandler shows the Python frames of its threads.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from storage import ArraySpec, Manifest, Workspace

_ROWS, _SHARD_ROWS = 96, 8
_SPECS = (
    ArraySpec("tokens", (49, 64), "float16", ("patch", "channel")),
    ArraySpec("area", (5,), "int64", ("region",)),
    ArraySpec("present", (), "bool", ()),
)


def _values(rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {spec.name: rng.integers(0, 99, (_ROWS, *spec.row_shape)).astype(spec.dtype) for spec in _SPECS}
    found["tokens"] *= rng.integers(0, 2, (_ROWS, 1, 1)).astype(np.float16)  # some rows compress to nothing
    return found


def write_and_read(folder: Path, number: int) -> None:
    """One checkpoint: its shards are written by four threads while four others read those that are finished."""
    rng = np.random.default_rng(number)
    values = _values(rng)
    checkpoint = Workspace(folder).checkpoint("extract", f"{number:032x}")
    manifest = checkpoint.begin(Manifest("extract", f"{number:032x}", {}, {}, _ROWS, _SHARD_ROWS, _SPECS))

    def write(shard: int) -> int:
        start, stop = manifest.shard_range(shard)
        rows = {name: array[start:stop] for name, array in values.items()}
        checkpoint.write_shard(manifest, shard, rows, {}, 0.0)
        return shard

    def read(shard: int) -> None:
        start, stop = manifest.shard_range(shard)
        chosen = np.sort(np.random.default_rng(shard).permutation(np.arange(start, stop))[:5])
        for name, array in values.items():
            reader = checkpoint.array(name)
            np.testing.assert_array_equal(reader.read_ahead(chosen).result(), array[chosen])
            np.testing.assert_array_equal(reader.rows(start, stop), array[start:stop])

    with ThreadPoolExecutor(4) as writers, ThreadPoolExecutor(4) as readers:
        reading = [readers.submit(read, shard) for shard in writers.map(write, range(manifest.num_shards))]
        for one in reading:
            one.result()
    checkpoint.finish({}, 0.0)
    for name, array in values.items():
        blocks = list(checkpoint.array(name).blocks())
        np.testing.assert_array_equal(np.concatenate(blocks), array)
    shutil.rmtree(checkpoint.location)


def _work(folder: Path, process: int, until: float) -> None:
    done = 0
    while not done or time.time() < until:
        write_and_read(folder, (process << 32) + done)
        done += 1
    print(f"process {process}: {done} checkpoints", flush=True)


def stress(seconds: float, processes: int) -> list[int]:
    """Run the processes for so long; returns the exit status of each, negative after a signal."""
    with tempfile.TemporaryDirectory() as folder:
        until = time.time() + seconds
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.soak.native"]
        work = ["--work", folder, str(until)]
        running = [subprocess.Popen([*command, *work, str(number)]) for number in range(processes)]
        return [process.wait() for process in running]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--work", nargs=3, metavar=("FOLDER", "UNTIL", "PROCESS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        folder, until, process = arguments.work
        _work(Path(folder), int(process), float(until))
        return
    ended = stress(arguments.minutes * 60, arguments.processes)
    crashes = [signal.Signals(-status).name for status in ended if status < 0]
    print(
        f"{arguments.processes} processes for {arguments.minutes:g} min: {len(crashes)} native crashes {crashes}"
    )
    sys.exit(1 if any(ended) else 0)


if __name__ == "__main__":
    main()
