"""A real SLURM on loopback, without systemd: munged, slurmctld and two slurmd, each a virtual node."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.servers import free_port, kill, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
# Debian puts the daemons where the path of an ordinary user does not lead.
PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
# More memory than this machine may have: it is only booked.
CPUS, MEMORY_MB = 2, 40000


@dataclass(frozen=True)
class Slurm:
    """A running SLURM.

    Attributes:
        folder: configuration, state and logs of its daemons.
        environment: the variable that its commands need.

    """

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """Run a command of SLURM; returns what it prints."""
        result = subprocess.run(
            command,
            env={**os.environ, **self.environment, "PATH": PATH},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def jobs(self, state: str = "all") -> list[str]:
        """Ids of the jobs in a state, oldest first."""
        listed = self.run("squeue", "--noheader", f"--states={state}", "--format=%i", "--sort=i")
        return listed.split()

    def clear(self) -> None:
        """Cancel all jobs, open the partition, and wait until the nodes are free."""
        self.run("scancel", f"--user={getpass.getuser()}")
        self.run("scontrol", "update", "PartitionName=main", "State=UP")
        wait_until(self._idle, 90, "the end of all jobs", interval=0.3)

    def _idle(self) -> bool:
        states = self.run("sinfo", "--noheader", "--Node", "--format=%T").split()
        unfinished = self.run("squeue", "--noheader", "--format=%i").split()
        return not unfinished and set(states) == {"idle"}


@contextmanager
def serve_slurm() -> Iterator[Slurm]:
    """Start SLURM with the partitions ``main`` and ``closed``, two nodes of two cores each; stop all of it at the end."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if missing:
        pytest.skip(
            f"no {', '.join(missing)} on this machine (Debian's packages are called slurm-wlm and munge)"
        )
    # The daemons are strict about who may write in the folders above their files, and the nodes read ours.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    slurm = Slurm(folder, {"SLURM_CONF": str(folder / "slurm.conf")})
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        _configure(folder)
        _start_daemon(slurm, daemons, "munged", "--foreground", "--force", f"--key-file={folder / 'munge.key'}",
                      f"--socket={folder / 'munge.sock'}", f"--pid-file={folder / 'munged.pid'}",
                      f"--log-file={folder / 'munged.log'}", f"--seed-file={folder / 'munged.seed'}")  # fmt: skip
        wait_until((folder / "munge.sock").exists, 30, "munged")
        _start_daemon(slurm, daemons, "slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            _start_daemon(slurm, daemons, "slurmd", "-D", "-N", node)
        wait_until(lambda: _answers(slurm), 60, f"SLURM; see {folder}", interval=0.3)
        yield slurm
    finally:
        try:
            _stop(slurm, daemons)
        finally:
            shutil.rmtree(folder)


def _configure(folder: Path) -> None:
    host, user = socket.gethostname().partition(".")[0], getpass.getuser()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={CPUS} RealMemory={MEMORY_MB}"
        for name in ("n1", "n2")
    )
    (folder / "slurm.conf").write_text(f"""\
ClusterName=dcn
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={free_port()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=2,bf_interval=2
{nodes}
PartitionName=main Nodes=ALL Default=YES State=UP
PartitionName=closed Nodes=ALL State=DOWN
""")


def _start_daemon(slurm: Slurm, daemons: list[subprocess.Popen[bytes]], *command: str) -> None:
    with (slurm.folder / "output.log").open("ab") as log:
        daemons.append(
            subprocess.Popen(
                command, env={**os.environ, **slurm.environment, "PATH": PATH},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip


def _answers(slurm: Slurm) -> bool:
    result = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%T"],
        env={**os.environ, **slurm.environment, "PATH": PATH}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return result.returncode == 0 and set(result.stdout.split()) == {"idle"}


def _stop(slurm: Slurm, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Stop the daemons in the reverse order of their start, and kill what runs or ran for them."""
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    kill([process for process in psutil.process_iter() if _belongs_to(process, slurm)])


def _belongs_to(process: psutil.Process, slurm: Slurm) -> bool:
    """Whether a daemon or a job of this SLURM started the process: all of them inherit the variable."""
    try:
        return process.pid != os.getpid() and process.environ().get("SLURM_CONF") == str(
            slurm.folder / "slurm.conf"
        )
    except psutil.Error:
        return False
