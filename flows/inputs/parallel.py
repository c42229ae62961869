"""Parallel preparation of images: threads that work ahead of the consumer, and batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
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
    or :data:`_AHEAD`. A process with one core, such as a Dask worker, uses no further threads. Neither does a
    function that runs in one of these threads itself: they would wait for each other.
    """
    if THREADS == 1 or getattr(_here, "in_pool", False):
        yield from map(function, items)
        return
    from dcn.kernels.cpu_threads import compute_alone, find_libraries

    def alone(item: T) -> R:
        compute_alone()  # each time: a library may have been loaded since the last
        return function(item)

    find_libraries()
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(_pool().submit(alone, item))
            if len(pending) == (waiting or _AHEAD):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # the consumer may stop early
        wait([future for future in pending if not future.cancel()])


@lru_cache
def _pool() -> ThreadPoolExecutor:
    """Make the threads that all shards and stages of this process share.

    If each of several shards that are computed at once had its own, all of them would compete for the
    interpreter lock with the thread that gives a GPU its work.
    """
    return ThreadPoolExecutor(min(8, THREADS), "prepare", initializer=_mark)


_here = threading.local()


def _mark() -> None:
    _here.in_pool = True


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Group items into tuples of ``size``; the last may be shorter. Python 3.12 has it in ``itertools``."""
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch
