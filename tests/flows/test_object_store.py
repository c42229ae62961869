"""The pipeline of the sample with its workspace on a real S3 server, killed once, against a folder."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from flows.configuration import load_settings
from flows.plan import states
from tests.flows.helpers import command, digests
from tests.s3_server import BUCKET
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]
# Short, and of several shards.
QUICK = [
    "train.iterations=20",
    "train.batch_size=4",
    "train.save_every=5",
    "train.check_every=5",
    "shard_images=2",
]
OVERRIDES = [argument for setting in QUICK for argument in ("--set", setting)]


def test_the_sample_on_s3_killed_once_equals_the_sample_in_a_folder(
    s3: str,
    prefect_server: dict[str, str],
    tmp_path: Path,
) -> None:
    environment = {
        **prefect_server,
        **{name: os.environ[name] for name in os.environ if name.startswith("AWS_")},
    }
    remote, local = f"{s3}/sample", tmp_path / "workspace"
    run = command("run", "sample", *OVERRIDES)
    there, here = load_settings("sample", QUICK, remote), load_settings("sample", QUICK, str(local))

    process = subprocess.Popen(
        [*run, "--workspace", remote], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: _begun(there, "extract") or process.poll() is not None, 300, "stage extract on S3")
    time.sleep(2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not _complete(there), "it was killed too late to say anything"

    for workspace in (remote, local):
        result = subprocess.run(
            [*run, "--workspace", str(workspace)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert result.returncode == 0, result.stderr
    assert f"{remote}/report/" in result.stdout or f"s3://{BUCKET}" not in result.stdout
    assert _complete(there)
    assert digests(there) == digests(here)
    again = subprocess.run(
        [*run, "--workspace", remote], env=environment, capture_output=True, text=True, timeout=600
    )
    assert "computed" not in again.stdout
    assert f"Open {remote}/report/" in " ".join(again.stdout.split())


def _begun(settings, stage: str) -> bool:
    return any(state.stage == stage and state.manifest is not None for state in states(settings))


def _complete(settings) -> bool:
    return all(state.state == "complete" for state in states(settings))
