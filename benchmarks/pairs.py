"""Two ways to do the same work, in turn in one process, so that both meet the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def measure_pairs(
    reference: Callable[[], object],
    candidate: Callable[[], object],
    pairs: int,
    before: Callable[[], object] = lambda: None,
    warm_up: Callable[[], object] | None = None,
) -> tuple[float, dict[str, float]]:
    """How many times as fast as the reference the candidate is: the median of several pairs.

    Args:
        reference, candidate: the work; each is done once before what counts, unless there is a ``warm_up``.
        pairs: how often both are done; which of the two is first alternates.
        before: is called before each, untimed.
        warm_up: a small part of both, done once instead; for works that take minutes.

    Returns:
        The ratio, and beside it the medians of the seconds of each, the least and the largest ratio, and the
        ratio of the processor's time. With one thread (``OMP_NUM_THREADS=1``) that is a figure for a machine
        that others use, too; threads that wait for each other spend it as well.

    """
    sides = {"reference": reference, "candidate": candidate}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    for work in sides.values() if warm_up is None else [warm_up]:
        before()
        work()
    for pair in range(pairs):
        for name in sorted(sides, reverse=pair % 2 == 0):
            before()
            began, processor_began = time.perf_counter(), time.process_time()
            sides[name]()
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - processor_began)
    ratios, processor_ratios = (
        [r / c for r, c in zip(each["reference"], each["candidate"], strict=True)]
        for each in (seconds, processor)
    )
    details = {f"seconds of the {name}": statistics.median(values) for name, values in seconds.items()}
    details |= {"least ratio": min(ratios), "largest ratio": max(ratios)}
    details["ratio of processor time"] = statistics.median(processor_ratios)
    return statistics.median(ratios), details
