"""Work on one image after the other, ahead of its consumer and in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from storage.threads import THREADS

T = TypeVar("T")


R = TypeVar("R")


# Results that wait for their consumer: photographs for several batches, and bounded memory.
_AHEAD = 64


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Apply a function ahead of its consumer, in order. For work that leaves the interpreter lock.

    At most :data:`_AHEAD` results wait, however many items there are. A process that may use one core, as a
    Dask worker does, works in the thread that asks.
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
                if len(pending) == _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:  # where the consumer stops early
                future.cancel()


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Tuples of ``size`` items, the last one shorter. ``itertools`` has it from Python 3.12 on."""
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch
