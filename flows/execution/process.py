"""Settings of a process that computes: how OpenMP waits, threads of BLAS, how memory is freed, and imports.

The command line, the flows and the workers of Dask call :func:`prepare_process` when they start. Importing
this project as a library changes nothing.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

# Loops that a thread of GNU's OpenMP spins after its work. By default it spins for so long on a core that our
# compiled kernels (dcn/kernels) want next, that a training step takes a fifth longer.
SPIN_COUNT = "10000"
# Parameters of mallopt in <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The largest threshold that glibc accepts.
_LARGEST_KEPT = 32 << 20
_MOST_KEPT = 1 << 30


def prepare_process() -> None:
    """Set up OpenMP, BLAS, memory and imports. Call this before PyTorch is imported: OpenMP reads them then.

    Processes that this one starts import nothing from the current folder: it may hold photographs, and a file
    ``select.py`` beside them would run when a worker of Dask starts.

    Safe to repeat. Values of ``GOMP_SPINCOUNT`` and ``OPENBLAS_NUM_THREADS`` in the environment stay.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    give_numpy_one_thread()
    os.environ["PYTHONSAFEPATH"] = "1"
    keep_freed_memory()


def give_numpy_one_thread() -> None:
    """Let the BLAS of NumPy and SciPy compute in the thread that calls it. PyTorch has another BLAS.

    Their products are small here, and each call waits for all threads. On a machine with other work, k-means
    takes five times as long with two threads as with one, and most of its processor time is waiting.
    """
    if "OPENBLAS_NUM_THREADS" in os.environ:
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for libraries that are loaded later
    if "numpy" in sys.modules:
        from threadpoolctl import ThreadpoolController

        ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def keep_freed_memory() -> None:
    """Keep up to 1 GiB of freed buffers of up to 32 MiB each. Does nothing without glibc.

    A forward pass frees buffers of many megabytes and allocates the same again. By default glibc returns
    large buffers to the kernel and gets them back as fresh, zeroed pages; in a worker of Dask, which sets
    ``MALLOC_TRIM_THRESHOLD_``, it returns every buffer. That took a third of the time of a ViT-Ti, and half
    of the time in which a random batch of tokens is read.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
