"""Running stages in this process, without an orchestrator."""

from __future__ import annotations

from pathlib import Path

from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import compute_shards, run_stage
from flows.settings.loading import load_settings
from flows.stage import Job


def run_up_to(stage: str, config: str, overrides: list[str], workspace: Path) -> Job:
    """Run every stage up to ``stage``; what is there is reused."""
    settings = load_settings(config, overrides, str(workspace))
    for name in stages_up_to(stage, settings):
        run_stage(find_job(settings, name), name, compute_shards, lambda text: print(f"  {text}", flush=True))
    return find_job(settings, stage)
