"""The pipeline of the sample with its workspace on a real S3 server, killed once, against a folder."""

import signal
import subprocess
from pathlib import Path

import pytest

from flows.execution.plan import states
from flows.settings import Settings
from flows.settings.loading import load_settings
from tests.flows.helpers import command, digests, run_stages
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]
# Short, of several shards, with a quarter of the tokens, and a small page.
QUICK = [
    "evaluate.attainable_images=2",
    "report.num_photographs=2",
    "backbone.input_size=196",
    "train.iterations=20",
    "train.batch_size=4",
    "train.save_seconds=0",
    "train.check_every=5",
    "shard_images=2",
]
OVERRIDES = [argument for setting in QUICK for argument in ("--set", setting)]


def test_the_sample_on_s3_killed_once_equals_the_sample_in_a_folder(s3: str, tmp_path: Path) -> None:
    remote, local = f"{s3}/sample", tmp_path / "workspace"
    run = command("run", "sample", *OVERRIDES)
    there, here = load_settings("sample", QUICK, remote), load_settings("sample", QUICK, str(local))

    process = subprocess.Popen(
        [*run, "--workspace", remote], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(
        lambda: _finished_images(there, "extract") > 0 or process.poll() is not None, 300, "a shard on S3"
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not _complete(there), "it was killed too late to say anything"

    result = subprocess.run([*run, "--workspace", remote], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert _complete(there)
    run_stages(here)
    assert digests(there) == digests(here)
    again = subprocess.run([*run, "--workspace", remote], capture_output=True, text=True, timeout=600)
    assert "computed" not in again.stdout
    for said in (result.stdout, again.stdout):
        assert f"Open {remote}/report/" in " ".join(said.split())


def _finished_images(settings: Settings, stage: str) -> int:
    found = {state.stage: state for state in states(settings)}[stage]
    return 0 if found.manifest is None else found.manifest.rows - found.missing_images


def _complete(settings: Settings) -> bool:
    return all(state.state == "complete" for state in states(settings))
