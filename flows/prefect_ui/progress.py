"""The progress of a stage on the page of its flow run, while it runs."""

from __future__ import annotations

import contextvars
import threading
from types import TracebackType
from typing import Self, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.prefect_ui.artifact_keys import artifact_key

# Seconds between two requests.
_INTERVAL = 5.0
# Seconds that the end of a stage waits for the last request.
_PATIENCE = 10.0


class PageProgress:
    """A progress artifact of the current flow run. Safe to call from several threads.

    What computes only counts. A thread of its own talks to the server, every few seconds and only if
    something changed, so that neither thousands of steps nor a server that does not answer delay the work.

    Args:
        name: the stage whose progress is shown; that of others is not.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._state: tuple[int, int, str] = (0, 0, "")  # done, total, note
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def start(self, stage: str, total: int, done: int) -> None:
        if stage != self._name:
            return
        with self._lock:
            self._state = done, total, ""
        if self._thread is None:
            # The context says which flow run this is, and how to reach the server.
            run = contextvars.copy_context().run
            self._thread = threading.Thread(target=run, args=(self._show,), daemon=True)
            self._thread.start()

    def advance(self, stage: str, units: int, note: str) -> None:
        if stage != self._name:
            return
        with self._lock:
            done, total, _ = self._state
            # Another attempt of a task may say some of it again.
            self._state = min(total, done + units), total, note

    def end_early(self, stage: str, note: str) -> None:
        if stage != self._name:
            return
        with self._lock:
            done, _, _ = self._state
            self._state = done, done, note

    def end(self, stage: str) -> None:
        """The state of the flow run has it."""

    def say(self, message: str) -> None:
        """The logs of the flow run have it."""

    def warn(self, message: str) -> None:
        """Likewise."""

    def _show(self) -> None:
        artifact: UUID | None = None
        shown = None
        ended = False
        while not ended:
            ended = self._ended.wait(_INTERVAL if shown else 0)
            state = self._state
            if state == shown:
                continue
            done, total, note = state
            percent = 100 * done / total if total else 100.0
            text = f"{self._name} {done}/{total} {note}".rstrip()
            try:
                if artifact is None:
                    key = artifact_key(self._name, "progress")
                    artifact = cast(UUID, create_progress_artifact(percent, key, text))
                else:
                    update_progress_artifact(artifact, percent, text)
            except Exception:  # whatever it is, the work goes on
                get_run_logger().debug("the progress could not be shown", exc_info=True)
            shown = state
