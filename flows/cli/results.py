"""All metrics of a run, machine-readable."""

from __future__ import annotations

from typing import Any

from flows.execution.plan import states
from flows.settings import Settings
from storage import CheckpointMissingError, Manifest, Workspace


def complete_manifests(settings: Settings) -> dict[str, Manifest]:
    """Read the manifest of each stage of a complete run; the page may be missing.

    Raises:
        CheckpointMissingError: a stage up to ``evaluate`` is not complete.

    """
    found: dict[str, Manifest] = {}
    for state in states(settings):
        if state.manifest is None or not state.manifest.complete:
            if state.stage == "report":
                continue
            raise CheckpointMissingError(
                f"stage {state.stage} is {state.state} in the workspace "
                f"{Workspace(settings.workspace).location}; run the configuration first"
            )
        found[state.stage] = state.manifest
    return found


def manifests_json(manifests: dict[str, Manifest]) -> dict[str, Any]:
    """Convert manifests to key, seconds, time and metrics of each stage, for ``dcn results --json``."""
    return {
        stage: {
            "key": manifest.key,
            "seconds": manifest.seconds,
            "created": manifest.created,
            "metrics": manifest.summary,
        }
        for stage, manifest in manifests.items()
    }
