"""Progress of the stages in a terminal: bars, or lines of text if the output is not a terminal."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from flows.printable import printable, printable_line

# Seconds between two lines if the output is not a terminal.
_LINE_INTERVAL = 10.0


class TerminalProgress:
    """Shows the progress of each stage on a line of its own. Safe to call from several threads.

    Without a terminal there is a line when a stage begins, one when it ends, and one every ten seconds.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=24, table_column=_whole()),
            MofNCompleteColumn(table_column=_whole()),
            TimeRemainingColumn(compact=True, table_column=_whole()),
            _NoteColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._stages: dict[str, TaskID] = {}
        self._running: Task | None = None  # of which lines tell
        self._began = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._print_lines, daemon=True)

    def __enter__(self) -> Self:
        self._bars.start()
        if not self._console.is_terminal:
            self._lines.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._ended.set()
        if self._lines.ident is not None:
            self._lines.join()

    def start(self, stage: str, total: int, done: int) -> None:
        with self._lock:
            if stage in self._stages:  # a comparison runs the stage again, with other settings
                self._bars.remove_task(self._stages[stage])
            self._stages[stage] = self._bars.add_task(stage, total=total, completed=done, note="")
            self._running = next(task for task in self._bars.tasks if task.id == self._stages[stage])
            self._began = time.monotonic()
            self._line(self._running, "")

    def advance(self, stage: str, units: int, note: str) -> None:
        if stage in self._stages:
            self._bars.update(self._stages[stage], advance=units, note=note)

    def end_early(self, stage: str, note: str) -> None:
        if stage in self._stages:
            done = next(task.completed for task in self._bars.tasks if task.id == self._stages[stage])
            self._bars.update(self._stages[stage], total=done, note=note)

    def end(self, stage: str) -> None:
        with self._lock:
            task, self._running = self._running, None
            if task is not None:
                self._line(task, f", done in {_clock(time.monotonic() - self._began)}")

    def say(self, message: str) -> None:
        self._console.print(printable(message), style="dim", markup=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        self._console.print(f"[yellow]warning[/] {escape(printable_line(message))}", soft_wrap=True)

    def _print_lines(self) -> None:
        while not self._ended.wait(_LINE_INTERVAL):
            with self._lock:
                if self._running is not None:
                    self._line(self._running, _when(self._running))

    def _line(self, task: Task, when: str) -> None:
        if self._console.is_terminal:
            return
        note = f", {task.fields['note']}" if task.fields["note"] else ""
        text = f"{task.description} {task.completed:g}/{task.total:g}{when}{note}"
        self._console.print(text, markup=False, soft_wrap=True)


class _NoteColumn(ProgressColumn):
    """The note beside a bar. A narrow terminal cuts it off, and no other column."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], style="dim", no_wrap=True, overflow="ellipsis")


def _whole() -> Column:
    return Column(no_wrap=True)


def _when(task: Task) -> str:
    """Say when a stage will end, as far as that is known."""
    if task.finished:  # after the last unit a stage still writes and checks its results
        return ", finishing"
    left = task.time_remaining
    return f", {_clock(left)} left" if left else ""


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
