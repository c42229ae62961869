"""Progress of the stages in a terminal: bars, or lines of text if the output is not a terminal."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from flows.printable import printable, printable_line

# Seconds between two lines of a stage if the output is not a terminal.
_LINE_INTERVAL = 15.0


class TerminalProgress:
    """Shows the progress of each stage on a line of its own. Safe to call from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, tuple[int, int]] = {}
        self._last_line = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, stage: str, total: int, done: int) -> None:
        with self._lock:
            self._done[stage] = done, total
            if stage in self._tasks:  # a comparison runs the stage again, with other settings
                self._bars.remove_task(self._tasks[stage])
            self._tasks[stage] = self._bars.add_task(stage, total=total, completed=done, note="")
        self._line(stage, "", force=True)

    def advance(self, stage: str, units: int, note: str) -> None:
        with self._lock:
            done, total = self._done.get(stage, (0, 0))
            self._done[stage] = done + units, total
            if stage in self._tasks:
                self._bars.update(self._tasks[stage], advance=units, note=note)
        self._line(stage, note, force=done + units == total)

    def end_early(self, stage: str, note: str) -> None:
        with self._lock:
            done, _ = self._done.get(stage, (0, 0))
            self._done[stage] = done, done
            if stage in self._tasks:
                self._bars.update(self._tasks[stage], total=done, note=note)
        self._line(stage, note, force=True)

    def say(self, message: str) -> None:
        self._console.print(printable(message), style="dim", markup=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        self._console.print(f"[yellow]warning[/] {escape(printable_line(message))}", soft_wrap=True)

    def _line(self, stage: str, note: str, *, force: bool) -> None:
        if self._console.is_terminal or (not force and time.monotonic() - self._last_line < _LINE_INTERVAL):
            return
        self._last_line = time.monotonic()
        done, total = self._done[stage]
        self._console.print(f"{stage} {done}/{total} {note}".rstrip(), markup=False, soft_wrap=True)
