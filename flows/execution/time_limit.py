"""A limit of the seconds that a piece of work may take in its thread."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _TimeIsUp(BaseException):
    """Passes through code that takes an exception for a failure of its own."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Interrupt what this thread does inside of the context after some seconds.

    Python interrupts a thread between two of its own steps. So a call that hangs in the kernel, or a long
    call of a library, is interrupted when it returns.

    Args:
        seconds: None is no limit.

    Raises:
        TimeoutError: the time is up.

    """
    if seconds is None:
        yield
        return
    thread, lock = ctypes.c_ulong(threading.get_ident()), threading.Lock()
    inside = True

    def interrupt() -> None:
        with lock:
            if inside:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TimeIsUp))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                inside = False
            timer.cancel()
    except _TimeIsUp:
        raise TimeoutError(f"it took longer than runner.task_timeout, {seconds:g} s") from None
    finally:
        # What was sent at the last moment, and did not arrive, must not meet the work that comes after.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
