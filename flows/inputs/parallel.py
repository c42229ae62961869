"""Parallel preparation of images: threads that work ahead of the consumer, and batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from storage.threads import THREADS

T = TypeVar("T")


R = TypeVar("R")


# Results that may wait for the consumer. They suffice for several batches, and bound the memory.
_AHEAD = 64


def in_threads(function: Callable[[T], R], items: Iterable[T], waiting: int | None = None) -> Iterator[R]:
    """Apply a function to items in threads, ahead of the consumer. Results come in the order of the items.

    The function should release the interpreter lock. At most ``waiting`` results wait for the consumer,
    or :data:`_AHEAD`. A process with one core, such as a Dask worker, uses no further threads.
    """
    if THREADS == 1:
        yield from map(function, items)
        return
    from dcn.kernels.cpu_threads import compute_alone

    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(min(8, THREADS), initializer=compute_alone) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) == (waiting or _AHEAD):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:  # the consumer may stop early
                future.cancel()


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Group items into tuples of ``size``; the last may be shorter. Python 3.12 has it in ``itertools``."""
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch
