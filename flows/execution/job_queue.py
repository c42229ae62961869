"""Jobs of a batch system that run Dask workers: what became of each, and new ones for those that ended."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from flows.errors import ClusterError
from flows.printable import printable_line
from flows.stage import Warn

# How a person asks for the own jobs, by the command that submits them. Only SLURM is asked here.
_LISTING = {
    "sbatch": "squeue --me",
    "qsub": "qstat",
    "bsub": "bjobs",
    "oarsub": "oarstat",
    "msub": "showq",
    "condor_submit": "condor_q",
}
# States in which SLURM still keeps a job; every other state is an end.
_ALIVE = {
    "PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "COMPLETING", "RESIZING", "REQUEUED",
    "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT",
}  # fmt: skip
# What helps against reasons for which SLURM lets a job wait for ever.
_TOO_LARGE = (
    "no node of the partition has the cores or the memory of a job: lower cores, processes and memory in "
    "runner.cluster_arguments"
)
_HELP = {
    "PartitionConfig": _TOO_LARGE,
    "BadConstraints": _TOO_LARGE,
    "PartitionDown": "the partition runs no jobs now: set runner.cluster_arguments.queue to another one",
    "PartitionInactive": "the partition takes no jobs now: set runner.cluster_arguments.queue to another one",
    "PartitionTimeLimit": "the partition allows less time: lower runner.cluster_arguments.walltime",
}
# Seconds after which a question to the batch system counts as not answered.
_PATIENCE = 60.0
# Rounds of new jobs, all in vain, after which none can be had.
_MOST_ROUNDS = 3
# Ids that a sentence lists; the others are counted.
_MOST_IDS = 5


class KeepsRefusal(ProcessInterface):
    """A job that keeps the sentence of a batch system that refuses it.

    Dask submits jobs in the background. An error there fills the log with tracebacks, and Dask counts the job
    as requested for ever.
    """

    submit_command: str
    job_id: str | None
    refusal: str | None = None

    async def start(self) -> None:
        try:
            await super().start()  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError, ValueError) as error:
            self.refusal = _own_words(error, self.submit_command.split()[0])
            self.status = Status.running  # who waits for the job expects this

    async def close(self) -> None:
        await super().close()  # type: ignore[no-untyped-call]
        self.status = Status.closed


def job_class(cluster: type[Any]) -> type[Any] | None:
    """The class of jobs with which a class of ``dask_jobqueue`` may start; None for other clusters."""
    jobs = getattr(cluster, "job_cls", None)
    return None if jobs is None else type(jobs.__name__, (KeepsRefusal, jobs), {})


@dataclass(frozen=True)
class _JobState:
    """State and reason of a job in SLURM's words."""

    state: str
    reason: str

    def __str__(self) -> str:
        return self.state if self.reason in ("None", "") else f"{self.state} ({self.reason})"


class JobQueue:
    """The jobs of a cluster of ``dask_jobqueue``.

    Args:
        cluster: its class of jobs is that of :func:`job_class`.
        name: name of the class of the cluster in the settings, for messages.
        warn: receives what the batch system says about jobs that it refused or that ended.
        pause: seconds between the first and the second round of new jobs while no worker is connected; each
            later pause is twice as long.

    """

    def __init__(self, cluster: Any, name: str, warn: Warn, pause: float) -> None:
        self._cluster = cluster
        self._name = name
        self._warn = warn
        self._pause = pause
        self._next_round = 0.0
        self._submit = str(cluster.job_cls.submit_command).split()[0]
        self._rounds = 0
        self._said: set[str] = set()

    def mend(self, connected: int) -> None:
        """Request new jobs in place of those that were refused or have ended.

        Args:
            connected: number of workers that are connected now.

        Raises:
            ClusterError: no worker is connected, no job is left, and several rounds of new ones failed.

        """
        jobs: dict[Any, KeepsRefusal] = dict(self._cluster.workers)
        try:
            states = self._states()
        except ClusterError as error:
            self._say(str(error))
            states = None
        found = {name: self._problem(job, states) for name, job in jobs.items()}
        problems = {name: problem for name, problem in found.items() if problem is not None}
        if connected:
            self._rounds = 0
        elif problems:
            if time.monotonic() < self._next_round:
                return
            self._next_round = time.monotonic() + self._pause * 2 ** min(self._rounds, _MOST_ROUNDS)
            self._rounds += 1
            if self._rounds >= _MOST_ROUNDS and len(problems) == len(jobs):
                *_, last = problems.values()
                raise ClusterError(
                    f"no worker can be had from runner.cluster {self._name}: {last}. What is finished stays; "
                    f"the same command computes the rest"
                )
        for problem in dict.fromkeys(problems.values()):
            self._say(f"{problem}; a new job takes its place")
        if problems or set(self._cluster.worker_spec) != set(self._cluster.workers):
            self._cluster.sync(self._replace, {name: jobs[name] for name in problems})

    def describe(self) -> str:
        """Say how the own jobs stand, and where to look."""
        jobs: list[Any] = list(self._cluster.workers.values())
        ids = [job.job_id for job in jobs if job.job_id]
        look = f"see {_LISTING.get(self._submit, 'the jobs of your batch system')}"
        folder = next((job.log_directory for job in jobs if job.log_directory), None)
        if folder:
            look += f" and the logs in {folder}"
        try:
            states = self._states()
        except ClusterError as error:
            return f"{error}; {look}"
        if states is None:
            return f"{len(ids)} jobs of {self._name} are submitted ({_listed(ids)}); {look}"
        if not ids:
            return f"no job of {self._name} is in the queue; {look}"
        groups: dict[_JobState, list[str]] = defaultdict(list)
        for job_id in ids:
            groups[states.get(job_id, _JobState("gone", ""))].append(job_id)
        stand = "; ".join(
            f"{'job' if len(found) == 1 else f'{len(found)} jobs'} {_listed(found)} {state}"
            for state, found in groups.items()
        )
        helps = {_HELP[state.reason] for state in groups if state.reason in _HELP}
        return "; ".join([stand, *sorted(helps), look])

    def _states(self) -> dict[str, _JobState] | None:
        """Ask SLURM for all own jobs, those that ended recently too; None: the batch system is another one.

        Raises:
            ClusterError: SLURM does not answer.

        """
        if self._submit != "sbatch":
            return None
        command = ["squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i %T %r"]
        try:
            answer = subprocess.run(  # noqa: S603 - no word of the command comes from outside
                command, capture_output=True, text=True, timeout=_PATIENCE, check=True
            )
        except subprocess.CalledProcessError as error:
            raise ClusterError(f"squeue failed: {printable_line(error.stderr.strip())}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"squeue does not answer: {error}") from error
        rows = (line.split(maxsplit=2) for line in answer.stdout.splitlines())
        return {row[0]: _JobState(row[1], row[2] if len(row) > 2 else "") for row in rows if len(row) > 1}

    def _problem(self, job: Any, states: dict[str, _JobState] | None) -> str | None:
        """Say why a job runs no worker and never will; None: it may."""
        if job.refusal is not None:
            return f"{self._submit} refused a job: {job.refusal}"
        if job.job_id is None or states is None:
            return None
        state = states.get(job.job_id)
        if state is not None and state.state in _ALIVE:
            return None
        end = f"job {job.job_id} has ended" + (f", {state}" if state else "")
        log = _last_line(job.log_directory, job.job_id)
        return f"{end}. Its log ends with: {log}" if log else end

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._warn(message)

    async def _replace(self, jobs: dict[Any, KeepsRefusal]) -> None:
        """Forget jobs, and request as many new ones. Runs in the thread of the cluster.

        A new job has a new name: Dask closes the job of a name some seconds after the worker of this name is
        lost.
        """
        for name, job in jobs.items():
            if self._cluster.workers.get(name) is not job:
                continue  # Dask released it meanwhile
            if name in self._cluster.worker_spec:
                self._cluster.worker_spec.update(self._cluster.new_worker_spec())
                del self._cluster.worker_spec[name]
            del self._cluster.workers[name]
            await job.close()
        await self._cluster


def _own_words(error: Exception, command: str) -> str:
    """What a command wrote to its standard error, on one line, without its name before each sentence."""
    text = str(error).rpartition("stderr:\n")[2]
    lines = (re.sub(rf"^({re.escape(command)}: )?(error: )?", "", line.strip()) for line in text.splitlines())
    return printable_line("; ".join(line for line in lines if line))


def _last_line(folder: str | None, job_id: str) -> str:
    """Last line of the log of a job that ended; empty if there is none."""
    for path in sorted(Path(folder or ".").glob(f"*{job_id}*")):  # .err before .out
        try:
            lines = path.read_text(errors="replace").strip().splitlines()
        except OSError:
            continue
        if lines:
            return printable_line(lines[-1].strip())
    return ""


def _listed(ids: list[str]) -> str:
    more = len(ids) - _MOST_IDS
    return ", ".join(ids[:_MOST_IDS]) + (f" and {more} more" if more > 0 else "")
