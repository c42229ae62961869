"""Kill the pipeline at random moments, many times, and compare its results with an undisturbed run.

    python -m tests.soak [--kills 50] [--images 400] [--seed 0] [--slurm]

First a pipeline runs undisturbed. Then the same pipeline runs again and again in new workspaces, while SIGKILL
hits the command, a Dask worker or the Dask scheduler at random moments; with ``--slurm``, the command or a job of a
real SLURM. The killed process is started again, and the same command continues. Each finished pipeline must have the digests of the undisturbed one. A kill loses the
work since the last recorded shard or training state; the result has the share of this work in all work.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import yaml

from flows.execution.plan import states
from flows.settings import Settings
from flows.settings.loading import load_settings
from tests.conftest import configure_tiny
from tests.flows.helpers import command, digests
from tests.servers import free_port, start_dask, wait_until
from tests.slurm import Slurm

# Seconds after which a run that continues after its kill counts as hanging.
_PATIENCE = 300.0


class Victims(Protocol):
    """What is killed beside the command.

    Attributes:
        targets: names of what can be killed; the command is ``command``.
        replaced: a killed target comes again by itself, so a command can lose several.
        environment: variables that the command needs beside those of this process.

    """

    targets: tuple[str, ...]
    replaced: bool

    @property
    def environment(self) -> dict[str, str]: ...

    def prepare(self, target: str) -> list[str]:
        """Start what a command needs before ``target`` can be killed; returns its arguments."""

    def kill(self, target: str, rng: random.Random) -> bool:
        """Kill something that is not the command; False: there is none of it now."""

    def stop(self) -> None:
        """Stop everything that was started."""


@dataclass
class SlurmJobs:
    """The jobs that a command with the configuration ``slurm`` has on a real SLURM. They are small."""

    slurm: Slurm
    folder: Path
    targets: tuple[str, ...] = ("command", "job", "job")
    replaced: bool = True

    @property
    def environment(self) -> dict[str, str]:
        return self.slurm.environment

    def prepare(self, target: str) -> list[str]:
        runner = load_settings("slurm").runner.model_dump(
            mode="json", include={"cluster", "cluster_arguments"}
        )
        small = {"cores": 1, "processes": 1, "memory": "3GB", "interface": "lo", "death_timeout": 10}
        runner["cluster_arguments"].update({**small, "shared_temp_directory": str(self.folder)})
        runner.update(kind="dask", keep=True, adaptive={"minimum": 1, "maximum": 2})
        return ["--set", f"runner={yaml.safe_dump(runner, default_flow_style=True, width=10**6)}"]

    def kill(self, target: str, rng: random.Random) -> bool:
        jobs = self.slurm.jobs("running")
        if jobs:
            self.slurm.run("scancel", "--signal=KILL", "--full", rng.choice(jobs))
        return bool(jobs)

    def stop(self) -> None:
        self.slurm.clear()


@dataclass
class Cluster:
    """A Dask scheduler and its workers, each in its own process."""

    folder: Path
    workers_wanted: int = 2
    port: int = field(default_factory=free_port)
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    targets: tuple[str, ...] = ("command", "worker", "scheduler")
    replaced: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def prepare(self, target: str) -> list[str]:
        if target == "command":  # with threads
            return []
        self.mend()
        values = {"kind": "dask", "address": self.address, "workers": self.workers_wanted}
        return [part for name, value in values.items() for part in ("--set", f"runner.{name}={value}")]

    def kill(self, target: str, rng: random.Random) -> bool:
        assert self.scheduler is not None
        victim = rng.choice(self.workers) if target == "worker" else self.scheduler
        victim.send_signal(signal.SIGKILL)
        return True

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def mend(self) -> None:
        """Start the processes that are not running."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.stop()
            self.port = free_port()
            self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self.workers_wanted:
            self.workers.append(self._start("worker", self.address, "--nthreads", "1", "--no-nanny"))

    def stop(self) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            process.kill()
            process.wait()
        self.workers, self.scheduler = [], None

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return start_dask(self.folder / f"{arguments[0]}.log", *arguments, environment=dict(os.environ))


@dataclass
class Soak:
    """The result of a soak.

    Attributes:
        kills: number of kills of each target.
        pipelines: number of finished pipelines, all with the digests of the undisturbed one.
        work: seconds that the stages of as many undisturbed pipelines take.
        lost: seconds from the last record, manifest or training state to the kill, without the start-up time
            of the process.

    """

    kills: Counter[str] = field(default_factory=Counter)
    pipelines: int = 0
    work: float = 0.0
    lost: float = 0.0

    @property
    def repeated(self) -> float:
        """Share of the work that had to be done again."""
        return self.lost / (self.work + self.lost)


def soak(
    config: dict[str, object],
    folder: Path,
    kills: int,
    seed: int,
    victims: Victims | None = None,
) -> Soak:
    """Run pipelines of a configuration and kill them, until ``kills`` processes have been killed.

    Args:
        config: settings, see :func:`configuration`.
        folder: folder for workspaces and logs.
        kills: number of kills.
        seed: seed of the random moments and targets.
        victims: what is killed beside the command; None: a Dask cluster of processes on this machine.

    """
    rng = random.Random(seed)
    victims = victims or Cluster(folder)
    undisturbed = _settings(config, folder / "undisturbed")
    began = time.monotonic()
    process = _run(_config_file(undisturbed), {})
    wait_until(lambda: _last_write(Path(undisturbed.workspace)) > 0, _PATIENCE, "the undisturbed pipeline")
    start_up = time.monotonic() - began
    assert process.wait() == 0
    duration = time.monotonic() - began
    expected = digests(undisturbed)
    work = sum(state.manifest.seconds for state in states(undisturbed) if state.manifest)
    result = Soak()
    with ExitStack() as stack:
        stack.callback(victims.stop)
        while sum(result.kills.values()) < kills or result.pipelines == 0:
            workspace = folder / f"pipeline-{result.pipelines}"
            settings = _settings(config, workspace)
            _disturb(settings, victims, rng, duration, start_up, kills, result)
            assert digests(settings) == expected, f"{workspace} differs from the undisturbed pipeline"
            result.pipelines += 1
            result.work += work
            print(f"{result.pipelines} pipelines equal, kills {dict(result.kills)}, "
                  f"{result.repeated:.1%} of the work repeated", flush=True)  # fmt: skip
    return result


def configuration(photographs: Path, weights: Path) -> dict[str, object]:
    """Settings with many small shards and a small model, so that a kill can hit many moments."""
    train = {"iterations": 60, "batch_size": 8, "check_every": 10, "save_seconds": 0, "num_prototypes": 3}
    return {**configure_tiny(photographs, weights), "train": train}


def _disturb(
    settings: Settings,
    victims: Victims,
    rng: random.Random,
    duration: float,
    start_up: float,
    kills: int,
    result: Soak,
) -> None:
    """Run one pipeline to its end, and kill its processes meanwhile."""
    while not _complete(settings):
        target = rng.choice(victims.targets)
        process = _run(_config_file(settings), victims.environment, *victims.prepare(target))
        began = time.time()
        while not _ends_within(_moment(rng, duration, start_up, kills, result), process):
            working = max(_last_write(Path(settings.workspace)), began + start_up)
            began = time.time()
            hit = target != "command" and victims.kill(target, rng)
            if not hit:
                process.send_signal(signal.SIGKILL)
            result.kills[target if hit else "command"] += 1
            result.lost += max(0.0, began - working)
            if hit and victims.replaced:
                continue
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"the command hangs after its {target} was killed") from None
            break


def _moment(rng: random.Random, duration: float, start_up: float, kills: int, result: Soak) -> float:
    """Draw the seconds until the next kill; when there were enough, those that a command may take."""
    if sum(result.kills.values()) >= kills:
        return _PATIENCE
    return start_up + rng.uniform(0, 0.6) * (duration - start_up)  # less work is left each time


def _ends_within(seconds: float, process: subprocess.Popen[bytes]) -> bool:
    """Whether a command ends within some seconds. If nothing killed it, it must end well."""
    try:
        ended = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    assert ended == 0, f"the command was not killed, but ended with {ended}"
    return True


def _last_write(workspace: Path) -> float:
    """Time of the last write of a record, manifest or file; 0 before the first."""
    files = [
        path
        for pattern in ("manifest.json", "shards/*.json", "files/*")
        for path in workspace.glob(f"*/*/{pattern}")
    ]
    return max((path.stat().st_mtime for path in files if path.suffix != ".partial"), default=0.0)


def _complete(settings: Settings) -> bool:
    return all(state.state == "complete" for state in states(settings))


def _settings(config: dict[str, object], workspace: Path) -> Settings:
    return Settings.model_validate({**config, "workspace": str(workspace)})


def _config_file(settings: Settings) -> Path:
    path = Path(f"{settings.workspace}.yaml")
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    return path


def _run(config: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    with config.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            command("run", config, *arguments),
            env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
