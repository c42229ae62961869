"""Running the stages in this process, without an orchestrator."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dcn.datasets import FolderOptions
from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import StageResult, compute_shards, run_stage
from flows.settings import Settings
from tests.servers import here

# The stages of a run without a language model.
STAGES = stages_up_to(None, Settings())


class MakeSettings(Protocol):
    """The fixture ``tiny_settings``: makes settings of the tiny pipeline with values of sections changed."""

    def __call__(self, **sections: object) -> Settings: ...


# A fixture that runs the command line with these arguments, in a process of its own.
RunCommand = Callable[..., subprocess.CompletedProcess[str]]


def run_stages(settings: Settings, last: str | None = None) -> dict[str, StageResult]:
    """Run every stage up to ``last``, as :mod:`flows.pipeline` does, one after the other."""
    results = {}
    for stage in stages_up_to(last, settings):
        results[stage] = run_stage(find_job(settings, stage), stage, compute_shards, lambda _: None)
    return results


def command(*arguments: object) -> list[str]:
    """The installed command ``dcn`` with these arguments. It imports nothing from the current folder."""
    return [str(Path(sys.executable).parent / "dcn"), *map(str, arguments)]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command to end; returns its exit status and its standard error on one line."""
    _, errors = process.communicate(timeout=here(300))
    assert "Traceback" not in errors, errors
    assert "INFO" not in errors, "a log is not what a user reads"
    return process.returncode, " ".join(errors.split())


def changed(settings: Settings, **sections: object) -> Settings:
    """The same settings with some values of some sections changed."""
    values = settings.model_dump(mode="json")
    for name, section in sections.items():
        values[name] = {**values[name], **section} if isinstance(section, dict) else section
    return Settings.model_validate(values)


def photograph_folder_of(settings: Settings) -> Path:
    """The photographs of settings whose data set is a folder, as the tiny pipeline's is."""
    assert isinstance(settings.dataset, FolderOptions)
    return settings.dataset.root


def mask_folder_of(settings: Settings) -> Path:
    """The masks of settings whose data set is a folder with ground truth, as the tiny pipeline's is."""
    assert isinstance(settings.dataset, FolderOptions)
    assert settings.dataset.masks is not None
    return settings.dataset.masks


def without_truth(photographs: Path) -> dict[str, object]:
    """Options that change the data set of the tiny pipeline to a folder of photographs without ground truth."""
    return {"root": str(photographs), "masks": None, "classes": None}


def records(workspace: str | Path, stage: str) -> dict[Path, int]:
    """The record files of a stage's finished shards, with their modification times in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in Path(workspace).glob(f"{stage}/*/shards/*.json")}


def digests(settings: Settings) -> dict[str, object]:
    """Digests of all arrays, and the content of the model file, the curve, the results and the classes."""
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
