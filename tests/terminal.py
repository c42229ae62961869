"""A terminal for the command line: it has a screen, and Ctrl-C reaches the whole process group."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil


class Terminal:
    """A command in a pseudo-terminal of its own.

    Attributes:
        process: the command. It leads the process group of the terminal.

    """

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._shown += os.read(self._keyboard, 4096)
            except OSError:  # no process is left that could write
                return

    @property
    def shown(self) -> str:
        """Everything that was written so far, without colors and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode(errors="replace"))

    def press_ctrl_c(self) -> list[psutil.Process]:
        """Press Ctrl-C. Returns the processes that ran at that time below the command."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        os.write(self._keyboard, b"\x03")
        return children


@contextmanager
def open_terminal(arguments: list[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command in a terminal; at the end, kill what is left of it."""
    keyboard, screen = pty.openpty()
    process = subprocess.Popen(
        arguments, env=environment, stdin=screen, stdout=screen, stderr=screen, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
    )  # fmt: skip
    os.close(screen)
    try:
        yield Terminal(process, keyboard)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(keyboard)
