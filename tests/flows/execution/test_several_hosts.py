"""Scheduler, workers and flow on hosts of their own: network namespaces with one switch between them, and TLS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.execution.plan import find_job
from flows.settings import Settings
from tests.flows.helpers import command, end, records, run_stages
from tests.network import write_certificate
from tests.servers import wait_until

pytestmark = pytest.mark.slow
HOSTS = ("scheduler", "first", "second", "flow")
ADDRESS = "tls://10.77.0.1:8786"
# A connection counts as lost after the fewest seconds that Dask allows, instead of half a minute.
IMPATIENT = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "4s",
}


class Network:
    """Hosts that are namespaces of the network, each with an address 10.77.0.N and a cable to a switch."""

    def __init__(self) -> None:
        self._prefix = f"dcn{os.getpid()}-"

    def host(self, name: str) -> str:
        return self._prefix + name

    def start(self) -> None:
        switch = self.host("switch")
        for name in ("switch", *HOSTS):
            ip(f"netns add {self.host(name)}")
            ip(f"-n {self.host(name)} link set lo up")
        ip(f"-n {switch} link add bridge type bridge")
        ip(f"-n {switch} link set bridge up")
        for number, name in enumerate(HOSTS, start=1):
            ip(f"-n {switch} link add {name} type veth peer name eth0 netns {self.host(name)}")
            ip(f"-n {switch} link set {name} master bridge up")
            ip(f"-n {self.host(name)} address add 10.77.0.{number}/24 dev eth0")
            ip(f"-n {self.host(name)} link set eth0 up")

    def cable(self, name: str, state: str) -> None:
        """Cut the cable of a host (``down``), or mend it (``up``)."""
        ip(f"-n {self.host('switch')} link set {name} {state}")

    def stop(self) -> None:
        for name in ("switch", *HOSTS):
            subprocess.run(["ip", "netns", "delete", self.host(name)], capture_output=True)


def ip(arguments: str) -> None:
    result = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True)
    if result.returncode != 0:
        raise OSError(f"ip {arguments}: {result.stderr.strip()}")


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    try:
        network.start()
    except OSError as error:
        network.stop()
        pytest.skip(f"this user or machine can make no network namespaces: {error}")
    yield network
    network.stop()


@pytest.fixture
def run_on(network: Network, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command on a host; kills it at the end of the test."""
    with ExitStack() as stack:

        def start(host: str, *words: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                ["ip", "netns", "exec", network.host(host), *words],
                env={**os.environ, **IMPATIENT, "PREFECT_HOME": str(tmp_path / "prefect")}, cwd=tmp_path,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if host == "flow" else subprocess.DEVNULL, text=True,
                start_new_session=True,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(lambda: os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None)
            return process

        yield start


def test_cut_cables_change_no_result(
    network: Network,
    run_on: Callable[..., subprocess.Popen[str]],
    tiny_config: dict[str, Any],
    tmp_path: Path,
) -> None:
    """That of the flow, which ends with a sentence, and the same command finishes; and that of a worker."""
    backbone = {**tiny_config["backbone"], "input_size": 1024, "batch_size": 1}  # seconds a shard
    values = {**tiny_config, "backbone": backbone, "shard_images": 1}
    here = Settings.model_validate({**values, "workspace": str(tmp_path / "threads")})
    run_stages(here, "extract")
    certificate = write_certificate(tmp_path / "certificate")
    runner = {"kind": "dask", "address": ADDRESS, "workers": 2, "tls": certificate}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**values, "runner": runner}))

    dask = str(Path(sys.executable).parent / "dask")
    names = {"--tls-ca-file": "ca_file", "--tls-cert": "cert", "--tls-key": "key"}
    tls = [word for option, name in names.items() for word in (option, certificate[name])]
    closed = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    listens = tmp_path / "scheduler.json"
    run_on("scheduler", dask, "scheduler", "--host", ADDRESS, "--scheduler-file", str(listens), *closed, *tls)
    wait_until(listens.exists, 120, "the scheduler")
    for host in ("first", "second"):
        run_on(host, dask, "worker", ADDRESS, "--nthreads", "1", *closed, *tls)

    def extract(workspace: Path, cut: str) -> tuple[int, str]:
        """Begin the stage, and cut the cable of a host while the workers compute."""
        words = command("extract", tmp_path / "config.yaml", "--workspace", workspace)
        flow = run_on("flow", *words)
        wait_for_shards(flow, workspace, 2)
        network.cable(cut, "down")
        return end(flow)

    code, errors = extract(tmp_path / "flow lost", "flow")
    assert code == 1, errors
    assert f"the scheduler of {ADDRESS} was lost before shards" in errors
    network.cable("flow", "up")

    code, errors = extract(tmp_path / "worker lost", "second")
    assert code == 0, errors
    code, errors = extract(tmp_path / "flow lost", "second")  # which has no cable any more
    assert code == 0, errors
    for workspace in ("flow lost", "worker lost"):
        assert content(here.model_copy(update={"workspace": str(tmp_path / workspace)})) == content(here)


def wait_for_shards(flow: subprocess.Popen[str], workspace: Path, count: int) -> None:
    wait_until(
        lambda: len(records(workspace, "extract")) >= count or flow.poll() is not None, 240, f"{count} shards"
    )


def content(settings: Settings) -> Any:
    checkpoint = find_job(settings, "extract").checkpoint("extract")
    return checkpoint.key, checkpoint.digests()
