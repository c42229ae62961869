"""Freed memory stays with the process: no fresh pages for the buffers of every batch."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
import torch
from flows.execution.process import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def batches(count):
    for _ in range(count):
        torch.ones(4 << 20)  # 16 MiB

def measure():
    batches(20)  # the heap grows at first
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    batches(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=measure)  # as the tasks of a flow
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_batch_gets_the_pages_of_the_one_before_it() -> None:
    def faults(kept: str) -> int:
        environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}  # as Dask's
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, kept], env=environment, capture_output=True, text=True, check=True
        )
        return int(run.stdout)

    pages = 20 * (16 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert faults("kept") < pages / 100
    assert faults("given back") > pages / 100
