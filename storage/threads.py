"""The number of threads that this process may compute with."""

from __future__ import annotations

import os


def _threads() -> int:
    declared = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if declared.isdecimal() and int(declared):
        return int(declared)
    if hasattr(os, "sched_getaffinity"):  # a cluster often gives a job a few cores of a large machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# PyTorch and OpenMP read OMP_NUM_THREADS, and Dask sets it for each worker. They read it once, and so does
# this module, because a Dask cluster that starts in this process leaves the number for its workers in the
# environment.
THREADS = _threads()
