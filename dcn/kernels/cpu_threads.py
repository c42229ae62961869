"""Threads of the compiled CPU kernels, and the freedom of their compiler.

Test: ``tests/dcn/kernels/test_products_and_attention.py`` (the number of threads changes no bit).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")

# The compiler may reorder sums, so that they use vector registers. NaN and infinity keep their meaning.
FAST_MATH = {"reassoc", "contract", "nsz", "arcp"}


def in_parts(work: Callable[..., None], count: int, *tensors: Tensor) -> None:
    """Call ``work(*arrays, start, stop)`` on equal parts of ``range(count)``, one thread for each part.

    There are as many threads as PyTorch may use here. Inside of a thread PyTorch uses only that thread.

    Args:
        work: a function whose result does not depend on where the parts begin.
        count: number of images.
        tensors: ``work`` gets them as arrays. PyTorch records no gradients.

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


def map_in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Apply a function to each item, in as many threads as PyTorch may use here; see :func:`in_parts`."""
    count = min(torch.get_num_threads(), len(items))
    return list(_threads(count).map(function, items)) if count > 1 else [function(item) for item in items]


def _without_gradients(work: Callable[..., None], *arguments: Any) -> None:
    with torch.no_grad():
        work(*arguments)


@lru_cache
def _threads(count: int) -> ThreadPoolExecutor:
    find_libraries()
    return ThreadPoolExecutor(count, "part", initializer=compute_alone)


def compute_alone() -> AbstractContextManager[object]:
    """Let OpenMP compute in the calling thread alone.

    Other threads may use the other cores; and what is summed in parts, one for each thread, has another last
    bit with another number of threads.

    Returns:
        A context at whose end the thread has its earlier limit again. Without it, the limit stays.

    """
    # OpenMP's limit belongs to the thread that sets it.
    limited: AbstractContextManager[object] = find_libraries().limit(limits=1, user_api="openmp")
    return limited


def find_libraries() -> ThreadpoolController:
    """Find the loaded libraries that have threads of their own, which takes some hundredths of a second.

    Call this before threads call :func:`compute_alone`. Otherwise all of them search at once.
    """
    return _find_libraries(len(sys.modules))


@lru_cache(maxsize=1)
def _find_libraries(modules: int) -> ThreadpoolController:  # noqa: ARG001 - a library comes with its module
    return ThreadpoolController()
