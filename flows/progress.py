"""Progress of long work, for whoever watches: the command line, or nobody.

A process that computes says what it did; only a process that has a watcher shows it. On a Dask worker there
is none, and the flow reports whole tasks as they come back.
"""

from __future__ import annotations

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


_watcher: Watcher | None = None


def watch(watcher: Watcher | None) -> None:
    """Set the watcher of this process."""
    global _watcher  # noqa: PLW0603 - one terminal per process
    _watcher = watcher


def start(stage: str, total: int, done: int = 0) -> None:
    """A stage begins."""
    if _watcher is not None:
        _watcher.start(stage, total, done)


def advance(stage: str, units: int, note: str = "") -> None:
    """Units of a stage are done; ``note`` is shown beside the bar."""
    if _watcher is not None:
        _watcher.advance(stage, units, note)


def say(message: str) -> None:
    """Say what is about to happen."""
    if _watcher is not None:
        _watcher.say(message)


def warn(message: str) -> None:
    """Say something that a person should know now."""
    if _watcher is not None:
        _watcher.warn(message)
