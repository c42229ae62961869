"""What the C library does with memory that is freed.

A forward pass frees buffers of many megabytes and asks for the same again. By default glibc gives large ones
back to the kernel, and takes them as fresh, zeroed pages; in a worker of Dask, which sets
``MALLOC_TRIM_THRESHOLD_``, every one of them. That took a third of the time of a ViT-Ti, and half of the time
in which a random batch of tokens is read.
"""

from __future__ import annotations

import ctypes
import platform

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The largest that glibc takes.
_LARGEST_KEPT = 32 << 20
_MOST_KEPT = 1 << 30


def keep_freed_memory() -> None:
    """Keep up to 1 GiB of freed buffers of up to 32 MiB each. Does nothing without glibc."""
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
