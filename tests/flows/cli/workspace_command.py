"""Run ``dcn workspace``, and damage the files of a checkpoint."""

import os
import re
import time
from pathlib import Path

from typer.testing import CliRunner, Result

from flows.cli.app import app
from flows.settings import Settings
from storage import Checkpoint, Workspace

REPAIR = "dcn workspace verify --repair"


def dcn(*arguments: object) -> Result:
    """Run ``dcn workspace`` with these arguments in this process. An exception fails the test."""
    result = CliRunner().invoke(app, ["workspace", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def folder(checkpoint: Checkpoint) -> Path:
    return Path(checkpoint.location)


def flip(path: Path, place: int = -3) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def age(checkpoint: Checkpoint, seconds: float) -> None:
    """Set the modification time of all its files to so many seconds ago."""
    then = time.time() - seconds
    for path in folder(checkpoint).rglob("*"):
        os.utime(path, (then, then))


def checkpoints(settings: Settings) -> dict[str, Checkpoint]:
    return {checkpoint.stage: checkpoint for checkpoint in Workspace(settings.workspace).checkpoints()}


def times(settings: Settings) -> dict[Path, int]:
    """Modification times of the records and the manifests, in nanoseconds."""
    files = [
        *Path(settings.workspace).glob("*/*/shards/*"),
        *Path(settings.workspace).glob("*/*/manifest.json"),
    ]
    return {path: path.stat().st_mtime_ns for path in files}


def listed(result: Result) -> dict[str, str]:
    """The last column of a listing, by stage and key."""
    assert result.exit_code == 0, result.output
    rows = re.findall(r"^ *(\w+) +(\w{32}) .* ago *(.*?) *$", result.stdout, flags=re.MULTILINE)
    return {f"{stage}/{key}": users for stage, key, users in rows}
