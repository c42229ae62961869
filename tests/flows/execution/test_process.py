"""A process that computes: its copy of NumPy does not wait for threads that have no core."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
if "early" in sys.argv:
    import numpy
from flows.execution.process import prepare_process

prepare_process()
import scipy.linalg
from threadpoolctl import threadpool_info

print({library["num_threads"] for library in threadpool_info() if library["internal_api"] == "openblas"})
"""


@pytest.mark.parametrize("numpy", ["early", "late"])
@pytest.mark.parametrize(("given", "threads"), [({}, "{1}"), ({"OPENBLAS_NUM_THREADS": "2"}, "{2}")])
def test_numpy_and_scipy_compute_in_one_thread_unless_the_user_says_otherwise(
    given: dict[str, str], threads: str, numpy: str
) -> None:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("OMP_NUM_THREADS", "BLAS_NUM_THREADS"))
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, numpy],
        env=inherited | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() in (threads, "set()")  # NumPy of macOS has no OpenBLAS
