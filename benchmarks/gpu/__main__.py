"""Correctness and speed on a CUDA device: loss, training step, training, backbone, stages.

    python -m benchmarks.gpu [--json FILE] [--only loss,step,run] [--iterations 2500]

All parts take about six minutes on an H200. The script prints the device and the versions first, and a row as
soon as it is measured. A part that fails is shown with its error, and the other parts go on; the exit status
is then 1. Without a CUDA device it is 2. Weights are random and tokens are synthetic: they change no speed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.measurement import Measured
from benchmarks.gpu.scale import SMALL, Scale

# Name of a part, and its module and function. A module is imported when its turn comes, so that a
# missing package costs one part. The parts that find errors come first, and the longest last.
PARTS = {
    "loss": ("loss", "measure"),
    "step": ("training_step", "measure"),
    "backbone": ("backbone", "measure"),
    "stages": ("stages", "measure"),
    "run": ("training_run", "measure"),
    "compile": ("training_step", "measure_compiled"),
}
_PACKAGES = ("torch", "triton", "timm", "numpy", "numba", "zarr", "tensorstore", "pydantic", "pillow")


def main() -> int:
    arguments = _parse()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here; python -m benchmarks measures the CPU.", file=sys.stderr)
        return 2
    if len(arguments.only) > 1:
        return _in_processes(arguments)
    scale = SMALL if arguments.small else Scale(arguments.device)
    if arguments.iterations:
        scale = replace(scale, iterations=arguments.iterations)
    machine = describe_machine(scale.device)
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    (name,) = arguments.only
    rows: list[Measured] = []
    failed: dict[str, str] = {}
    began = time.monotonic()
    try:
        for row in _part(name)(scale):
            rows.append({"part": name, **row})
            _show(row)
    except Exception as error:  # the rows so far are measurements
        failed[name] = traceback.format_exc()
        print(f"{name} FAILED: {type(error).__name__}: {error}", flush=True)
    seconds = {name: time.monotonic() - began}
    print(f"({name}: {seconds[name]:.0f} s)", flush=True)
    if arguments.json:
        _write(arguments.json, {"machine": machine, "rows": rows, "failed": failed, "seconds": seconds})
    return 1 if failed else 0


def _in_processes(arguments: argparse.Namespace) -> int:
    """Run each part in a process of its own: after an illegal access, CUDA serves a process no more."""
    documents: list[dict[str, Any]] = []
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            part = Path(folder, f"{name}.json")
            command = [sys.executable, "-m", "benchmarks.gpu", "--only", name, "--json", str(part)]
            command += ["--device", arguments.device, *(["--small"] if arguments.small else [])]
            command += ["--iterations", str(arguments.iterations)] if arguments.iterations else []
            status = max(status, subprocess.run(command, check=False).returncode)
            if part.exists():
                documents.append(json.loads(part.read_text()))
            if arguments.json and documents:  # after each part: a run that is ended keeps what it measured
                whole = {
                    "machine": documents[0]["machine"],
                    "rows": [row for document in documents for row in document["rows"]],
                    "failed": {k: v for document in documents for k, v in document["failed"].items()},
                    "seconds": {k: v for document in documents for k, v in document["seconds"].items()},
                }
                _write(arguments.json, whole)
    return status


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write machine, rows and tracebacks there too")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[*PARTS], help="some parts")
    parser.add_argument("--iterations", type=int, help="of a whole training; 2500 are the paper's")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help=argparse.SUPPRESS)  # shows that the script runs
    arguments = parser.parse_args()
    unknown = set(arguments.only) - set(PARTS)
    if unknown:
        parser.error(
            f"--only: there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}"
        )
    if arguments.small != (arguments.device == "cpu"):
        parser.error("--device cpu and --small go together: the full sizes are those of a GPU")
    return arguments


def _part(name: str) -> Callable[[Scale], Iterator[Measured]]:
    module, function = PARTS[name]
    found: Callable[[Scale], Iterator[Measured]] = getattr(
        import_module(f"benchmarks.gpu.{module}"), function
    )
    return found


def describe_machine(device: str) -> dict[str, str]:
    """Device, driver and versions."""
    machine = {"device": "cpu"}
    if device == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        machine = {
            "device": torch.cuda.get_device_name(),
            "compute capability": capability,
            "memory": f"{memory:.0f} GiB",
            "driver": _driver(),
            "CUDA": str(torch.version.cuda),
        }
    machine |= {"cores": str(os.cpu_count()), "Python": platform.python_version()}
    return machine | {name: _version(name) for name in _PACKAGES}


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:
        return "missing"


def _show(row: Measured) -> None:
    print(row["what"], flush=True)
    for name, value in row.items():
        if name != "what":
            print(f"    {name}: {value if isinstance(value, str) else format(value, '.4g')}", flush=True)


def _write(file: Path, document: dict[str, Any]) -> None:
    """JSON has no NaN: null stands where a CPU has no measurement."""
    rows = [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in row.items()
        }
        for row in document["rows"]
    ]
    file.write_text(json.dumps(document | {"rows": rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
