"""Every figure of a run, machine-readable."""

from __future__ import annotations

from typing import Any

from flows.execution.plan import states
from flows.settings import Settings
from storage import CheckpointMissingError


def all_results(settings: Settings) -> dict[str, Any]:
    """Key, seconds and figures of each stage of a complete run.

    Raises:
        CheckpointMissingError: a stage up to ``evaluate`` is not complete.

    """
    found: dict[str, Any] = {}
    for state in states(settings):
        if state.manifest is None or not state.manifest.complete:
            if state.stage == "report":
                continue
            raise CheckpointMissingError(f"stage {state.stage} is {state.state}; run the configuration first")
        found[state.stage] = {
            "key": state.manifest.key,
            "seconds": state.manifest.seconds,
            "created": state.manifest.created,
            "figures": state.manifest.summary,
        }
    return found
