"""Running the stages in this process, without an orchestrator."""

import subprocess
import sys
from pathlib import Path

from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import StageResult, compute_shards, run_stage
from flows.settings import Settings

# The stages of a run without a language model.
STAGES = stages_up_to(None, Settings())


def run_stages(settings: Settings, last: str | None = None) -> dict[str, StageResult]:
    """Every stage up to ``last`` as :mod:`flows.pipeline` runs it, one after the other."""
    results = {}
    for stage in stages_up_to(last, settings):
        results[stage] = run_stage(find_job(settings, stage), stage, compute_shards, lambda _: None)
    return results


def command(*arguments: object) -> list[str]:
    """The command as it was installed, with these arguments: it finds nothing because of the folder it is in."""
    return [str(Path(sys.executable).parent / "dcn"), *map(str, arguments)]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status of a command, and what was said on standard error."""
    _, errors = process.communicate(timeout=300)
    assert "Traceback" not in errors, errors
    assert "INFO" not in errors, "a log is not what a user reads"
    return process.returncode, " ".join(errors.split())


def changed(settings: Settings, **sections: dict[str, object]) -> Settings:
    """The same settings with some values of some sections changed."""
    values = settings.model_dump(mode="json")
    for name, section in sections.items():
        values[name] = {**values[name], **section} if isinstance(section, dict) else section
    return Settings.model_validate(values)


def without_truth(photographs: Path) -> dict[str, object]:
    """The data set of a folder of photographs alone, in place of that of the tiny pipeline."""
    return {"root": str(photographs), "masks": None, "classes": None}


def records(workspace: str | Path, stage: str) -> dict[Path, int]:
    """The records of finished shards of a stage, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in Path(workspace).glob(f"{stage}/*/shards/*.json")}


def digests(settings: Settings) -> dict[str, object]:
    """Digests of everything that the stages computed: array values, model file, results."""
    job = find_job(settings)
    found: dict[str, object] = {}
    for stage in job.keys:
        checkpoint = job.checkpoint(stage)
        found[stage] = (checkpoint.key, checkpoint.digests())
    found["model"] = job.checkpoint("train").read_file("dcn.safetensors")
    found["curve"] = job.checkpoint("train").read_file("curve.json")
    found["results"] = job.checkpoint("evaluate").read_file("results.json")
    found["semantic"] = job.checkpoint("evaluate").read_file("semantic.npy")
    return found
