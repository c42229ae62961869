"""Start real servers on loopback, each in its own process: Prefect, its worker, PostgreSQL, Dask."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent


@contextmanager
def serve_prefect(home: Path, **variables: str) -> Iterator[dict[str, str]]:
    """Start Prefect's server with its files in ``home``; yields the environment variables of its clients."""
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        **variables,
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: _healthy(port), 180, f"the Prefect server; see {home / 'server.log'}")
            yield environment
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def work(environment: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    """Start a worker of the pool ``dcn`` that polls every two seconds; at the end, kill it and its children."""
    with log.open("ab") as file:
        started = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "dcn"],
            env={**environment, "PREFECT_WORKER_QUERY_SECONDS": "2"}, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
        worker = psutil.Process(started.pid)
        try:
            yield worker
        finally:
            if started.poll() is None:
                children = worker.children(recursive=True)
                started.send_signal(signal.SIGTERM)
                try:
                    started.wait(60)
                except subprocess.TimeoutExpired:
                    started.kill()
                    started.wait()
                kill(children)


def start_dask(log: Path, *arguments: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start ``dask scheduler`` or ``dask worker`` in a folder without code. The caller has to end it."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [Path(sys.executable).parent / "dask", *arguments, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
            env=environment, cwd=log.parent, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip


def kill(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to processes; ignores those that have ended."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@contextmanager
def serve_postgresql() -> Iterator[str]:
    """Start PostgreSQL with an empty database; yields ``PREFECT_SERVER_DATABASE_CONNECTION_URL``."""
    binaries = _postgresql_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine (Debian's package is called postgresql)")
    # PostgreSQL refuses to run as root, and the user postgres may not enter the temporary folders of pytest.
    user: int | None = None
    group: int | None = None
    extra_groups: list[int] | None = None
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if os.geteuid() == 0:
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user, group, extra_groups = account.pw_uid, account.pw_gid, []
        os.chown(folder, user, group)

    def run(program: str, *arguments: str) -> None:
        # pg_ctl leaves a server behind that keeps a pipe open, so its output goes to a file.
        with (folder / "output.log").open("ab") as log:
            subprocess.run(
                [str(binaries / program), *arguments],
                check=True, timeout=120, cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                user=user, group=group, extra_groups=extra_groups,
            )  # fmt: skip

    password, port = secrets.token_hex(16), free_port()
    (folder / "password").write_text(password)
    data = str(folder / "data")
    try:
        run(
            "initdb", "--pgdata", data, "--username", "prefect", "--encoding", "UTF8", "--locale", "C", "--no-sync",
            "--auth", "scram-sha-256", "--pwfile", str(folder / "password"),
        )  # fmt: skip
        server = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        run("pg_ctl", "--pgdata", data, "--wait", "--log", str(folder / "server.log"), "-o", server, "start")
        try:
            yield f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--pgdata", data, "--wait", "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _postgresql_binaries() -> Path | None:
    """Find the folder of ``initdb`` and ``pg_ctl``: on the path, or Debian's newest version."""
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    newest = max(versions, key=lambda path: float(path.parent.parent.name), default=None)
    return None if newest is None else newest.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def here(seconds: float) -> float:
    """How long work of so many seconds may take now: longer, if more processes compute than there are cores."""
    return seconds * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_until(condition: Callable[[], bool], seconds: float, what: str, interval: float = 0.05) -> None:
    """Poll until the condition holds, at most so many seconds of a free machine; see :func:`here`."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < here(seconds), f"{what} did not come within {waited:.0f} s"
        time.sleep(interval)
