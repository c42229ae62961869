"""Compiled work on the CPU: what it may reorder, and its share of the threads that PyTorch uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

# Sums may be reordered, so that they use vector registers; NaN and infinity stay what they are and show.
FAST_MATH = {"reassoc", "contract", "nsz", "arcp"}


def in_parts(work: Callable[..., None], count: int, *tensors: Tensor) -> None:
    """Call ``work(*arrays, start, stop)`` on equal parts of ``range(count)``, each in a thread of its own.

    It gets the tensors as arrays. There are as many threads as PyTorch may use here; in each of them it uses
    one, and records no gradients. What is computed must not depend on where the parts begin.
    """
    arrays = [tensor.detach().numpy() for tensor in tensors]
    edges = np.linspace(0, count, min(torch.get_num_threads(), count) + 1).astype(int).tolist()
    parts = list(pairwise(edges))
    if len(parts) == 1:
        _without_gradients(work, *arrays, *parts[0])
        return
    pool = _threads(len(parts))
    for future in [pool.submit(_without_gradients, work, *arrays, *part) for part in parts]:
        future.result()


def _without_gradients(work: Callable[..., None], *arguments: Any) -> None:
    with torch.no_grad():
        work(*arguments)


@lru_cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "part", initializer=compute_alone)


def compute_alone() -> None:
    """One of several threads that share the cores shares its own arithmetic with no others."""
    threadpool_limits(1, user_api="openmp")  # OpenMP's limit is one of the thread that sets it
