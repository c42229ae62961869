"""Progress of long work, for whoever watches: the terminal, the page of the flow run, or nobody.

A process that computes says what it did; only a process that has watchers shows it. On a Dask worker there
are none, and the flow reports whole tasks as they come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Watcher(Protocol):
    """Shows progress."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins, ``done`` of its ``total`` units are there already."""

    def advance(self, stage: str, units: int, note: str) -> None:
        """``units`` more are done."""

    def say(self, message: str) -> None:
        """Something that is about to happen."""

    def warn(self, message: str) -> None:
        """Something that a person should know now."""


_watchers: list[Watcher] = []


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Show a watcher what happens inside."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def start(stage: str, total: int, done: int = 0) -> None:
    """A stage begins."""
    for watcher in _watchers:
        watcher.start(stage, total, done)


def advance(stage: str, units: int, note: str = "") -> None:
    """Units of a stage are done; ``note`` is shown beside the bar."""
    for watcher in _watchers:
        watcher.advance(stage, units, note)


def say(message: str) -> None:
    """Say what is about to happen."""
    for watcher in _watchers:
        watcher.say(message)


def warn(message: str) -> None:
    """Say something that a person should know now."""
    for watcher in _watchers:
        watcher.warn(message)
