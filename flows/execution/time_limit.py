"""A limit of the seconds that a piece of work may take in its thread."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class _TimeIsUp(BaseException):
    """Passes through code that takes an exception for a failure of its own."""


def run_within(seconds: float | None, work: Callable[[], Result]) -> Result:
    """Run work in this thread, and interrupt it after some seconds.

    Python interrupts a thread between two of its own steps. So a call that hangs in the kernel, or a long
    call of a library, is interrupted when it returns. This is no context manager, because an interruption
    could come between two steps of its own, where nobody expects it.

    Args:
        seconds: None is no limit.
        work: what to run.

    Raises:
        TimeoutError: the time is up.

    """
    if seconds is None:
        return work()
    thread, lock = ctypes.c_ulong(threading.get_ident()), threading.Lock()
    inside = True

    def interrupt() -> None:
        with lock:
            if inside:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TimeIsUp))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    try:
        try:
            timer.start()
            return work()
        finally:
            with lock:
                inside = False
            timer.cancel()
    except _TimeIsUp:
        raise TimeoutError(f"it took longer than runner.task_timeout, {seconds:g} s") from None
    finally:
        # What was sent at the last moment, and did not arrive, must not meet the work that comes after.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
