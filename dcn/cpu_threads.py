"""Compiled work on the CPU: what it may reorder, and its share of the threads that PyTorch uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

# Sums may be reordered, so that they use vector registers; NaN and infinity stay what they are and show.
FAST_MATH = {"reassoc", "contract", "nsz", "arcp"}


def in_parts(kernel: Callable[..., None], tensors: Sequence[Tensor], count: int) -> None:
    """Call ``kernel(*arrays, start, stop)`` on equal parts of ``range(count)``, each in a thread of its own.

    The kernel gets the tensors as arrays, writes into some of them, and lets go of Python's lock. What it
    computes must not depend on where the parts begin.
    """
    arrays = [tensor.detach().numpy() for tensor in tensors]
    threads = min(torch.get_num_threads(), count)
    edges = np.linspace(0, count, threads + 1).astype(int).tolist()
    first, *others = pairwise(edges)
    if not others:
        kernel(*arrays, *first)
        return
    with ThreadPoolExecutor(len(others)) as pool:
        futures = [pool.submit(kernel, *arrays, *part) for part in others]
        kernel(*arrays, *first)
        for future in futures:
            future.result()
