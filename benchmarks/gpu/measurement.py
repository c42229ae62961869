"""Seconds and memory on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

# One line of the table: what was measured, and its numbers by name.
Measured = dict[str, str | float]
_WARM_UP = 3


def median_seconds(work: Callable[[], object], repeats: int, device: str) -> float:
    """Median duration of a call, after a warm-up that is not counted; by CUDA events on a GPU."""
    for _ in range(_WARM_UP):
        work()
    seconds = []
    for _ in range(repeats):
        if device == "cpu":
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
            continue
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return statistics.median(seconds)


def wait(device: str) -> None:
    """Return when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak(device: str) -> None:
    """Free cached memory; :func:`peak_gigabytes` counts from here on."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gigabytes(device: str) -> float:
    """Most memory that tensors took on the GPU since :func:`forget_peak`; NaN on a CPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else float("nan")
