"""How many threads this process may compute with at once."""

from __future__ import annotations

import os


def _threads() -> int:
    declared = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if declared.isdecimal() and int(declared):
        return int(declared)
    if hasattr(os, "sched_getaffinity"):  # a job of a cluster often has a few cores of a large machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# PyTorch and OpenMP obey OMP_NUM_THREADS, and Dask gives it to each worker. Read once, as they do: a Dask
# cluster that is started in this process leaves the number of its workers in the environment.
THREADS = _threads()
