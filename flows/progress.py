"""Progress of long work, for watchers: the terminal, the page of the flow run, or none.

A process that computes reports its progress here, and the watchers of this process show it. A Dask worker has
no watchers, so the flow reports whole tasks when they end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Watcher(Protocol):
    """Shows progress."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins; ``done`` of its ``total`` units were finished before."""

    def advance(self, stage: str, units: int, note: str) -> None:
        """``units`` more are finished."""

    def end_early(self, stage: str, note: str) -> None:
        """The stage needs no more units than those that are finished; ``note`` says why."""

    def end(self, stage: str) -> None:
        """The stage is complete."""

    def say(self, message: str) -> None:
        """Show what happens next."""

    def warn(self, message: str) -> None:
        """Show a warning."""


_watchers: list[Watcher] = []


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Report the progress of everything inside of this context to a watcher."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def start(stage: str, total: int, done: int = 0) -> None:
    """Report that a stage begins; ``done`` of its ``total`` units were finished before."""
    for watcher in _watchers:
        watcher.start(stage, total, done)


def advance(stage: str, units: int, note: str = "") -> None:
    """Report that units of a stage are finished; ``note`` is shown beside the bar."""
    for watcher in _watchers:
        watcher.advance(stage, units, note)


def end_early(stage: str, note: str) -> None:
    """Report that a stage needs no more units; ``note`` says why, and is shown beside the bar."""
    for watcher in _watchers:
        watcher.end_early(stage, note)


def end(stage: str) -> None:
    """Report that a stage is complete."""
    for watcher in _watchers:
        watcher.end(stage)


def say(message: str) -> None:
    """Report what happens next."""
    for watcher in _watchers:
        watcher.say(message)


def warn(message: str) -> None:
    """Report a warning."""
    for watcher in _watchers:
        watcher.warn(message)
