"""A real SLURM on loopback: the jobs of the shipped configuration, and what becomes of them when SLURM says no."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from markdown_it import MarkdownIt

from flows.errors import ClusterError, StoppedError
from flows.execution.clusters import open_client
from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import run_stage
from flows.execution.runners import keep_cluster, open_runner
from flows.execution.waiting import Patience
from flows.settings import RunnerSettings, Settings
from flows.settings.loading import load_settings
from flows.stage import Job
from tests.flows.helpers import command, digests, records, run_stages
from tests.network import other_address, plain_answers
from tests.servers import wait_until
from tests.slurm import Slurm, serve_slurm

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("terminal_signals")]
QUICK = Patience(first=1.0, again=2.0, step=0.3, pause=0.3)
MakeRunner = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def running_slurm() -> Iterator[Slurm]:
    with serve_slurm() as slurm:
        yield slurm


@pytest.fixture
def slurm(running_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """SLURM without jobs. Its commands in this process find it."""
    for name, value in running_slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield running_slurm
    running_slurm.clear()


@pytest.fixture
def runner(tmp_path: Path) -> MakeRunner:
    """Makes the section ``runner`` of the shipped configuration, with jobs that fit the nodes of the tests."""

    def make(workers: int | None = None, interface: str = "lo", **arguments: object) -> dict[str, Any]:
        shared = tmp_path / "shared"
        shared.mkdir(exist_ok=True)
        section = load_settings("slurm").runner.model_dump(mode="json", exclude_none=True)
        section["cluster_arguments"].update(
            {"cores": 1, "processes": 1, "memory": "3GB", "interface": interface,
             "shared_temp_directory": str(shared), **arguments}
        )  # fmt: skip
        if workers is None:
            section["adaptive"] = {"minimum": 0, "maximum": 2}
        else:
            section["workers"] = workers
            del section["adaptive"]
        return section

    return make


@pytest.fixture(scope="module")
def whole(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """``extract`` as this process computes it, a shard a photograph."""
    settings = Settings.model_validate(
        {
            **tiny_config,
            "backbone": {**tiny_config["backbone"], "input_size": 480, "batch_size": 1},
            "shard_images": 1,
            "workspace": str(tmp_path_factory.mktemp("whole") / "workspace"),
        }
    )
    run_stages(settings, "extract")
    return settings


def on_slurm(settings: Settings, workspace: Path, runner: dict[str, Any]) -> Settings:
    """The same settings with a runner on SLURM, in a workspace whose index is complete."""
    changed = settings.model_copy(
        update={"workspace": str(workspace), "runner": RunnerSettings.model_validate(runner)}
    )
    run_stages(changed.model_copy(update={"runner": RunnerSettings()}), "index")
    return changed


def compute(
    settings: Settings, warn: Callable[[str], None], patience: Patience = QUICK, last: str = "extract"
) -> Any:
    """Run the stages up to ``last`` on the runner of the settings, as their flows do; returns the content of ``extract``."""

    def run_shards(job: Job, stage: str, shards: list[int]) -> None:
        with ThreadPoolExecutor(len(shards)) as pool, open_runner(job.settings, warn, patience) as opened:
            tasks = [pool.submit(opened.compute, job.to_json(), stage, [shard]) for shard in shards]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                opened.stop()
                raise

    for stage in stages_up_to(last, settings):
        run_stage(find_job(settings, stage), stage, run_shards, warn)
    return content(settings)


def content(settings: Settings) -> Any:
    checkpoint = find_job(settings, "extract").checkpoint("extract")
    return checkpoint.key, checkpoint.digests()


class Disturbance:
    """Runs an action once, in a thread, as soon as a workspace has some records of a stage."""

    def __init__(self, workspace: Path, stage: str, count: int, action: Callable[[], object]) -> None:
        self._workspace, self._stage, self._count, self._action = workspace, stage, count, action
        self.left = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Disturbance:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        wait_until(lambda: len(records(self._workspace, self._stage)) >= self._count, 200, f"{self._stage}")
        self._action()
        self.left = len(records(self._workspace, self._stage))


# -- results ---------------------------------------------------------------------------------------------


def test_the_sample_from_nothing_to_report_while_jobs_are_cancelled(
    slurm: Slurm, runner: MakeRunner, tiny_config: dict[str, Any], tmp_path: Path
) -> None:
    values = {**tiny_config, "dataset": {"name": "sample"}, "shard_images": 1}
    here = Settings.model_validate({**values, "workspace": str(tmp_path / "threads")})
    run_stages(here)
    workspace = tmp_path / "slurm"
    section = RunnerSettings.model_validate({**runner(), "keep": True})
    there = here.model_copy(update={"workspace": str(workspace), "runner": section})
    warnings: list[str] = []
    stages = ("extract", "segment", "embed")
    with ExitStack() as stack:
        cuts = [
            stack.enter_context(Disturbance(workspace, stage, 1, lambda: slurm.run("scancel", *slurm.jobs("running")[:1])))
            for stage in stages
        ]  # fmt: skip
        with keep_cluster():
            compute(there, warnings.append, last="report")
    assert any(cut.left < 8 for cut in cuts), "no job was cancelled in the middle of a stage"
    assert digests(there) == digests(here)
    assert not [line for line in warnings if "does not use TLS" in line]
    assert list((workspace / "job-logs").glob("dask-worker-*.err")), "the logs of the jobs have no place"
    assert not list((tmp_path / "shared").iterdir()), "the key of the run stayed"


def test_fixed_jobs_that_were_all_cancelled_are_replaced(
    slurm: Slurm, runner: MakeRunner, whole: Settings, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    settings = on_slurm(whole, workspace, runner(workers=2))
    warnings: list[str] = []
    with Disturbance(workspace, "extract", 2, lambda: slurm.run("scancel", *slurm.jobs("running"))) as cancel:
        found = compute(settings, warnings.append)
    assert cancel.left < 14, "the stage was over before the jobs were cancelled"
    assert found == content(whole)
    assert any(
        re.match(r"job \d+ has ended, CANCELLED.*; a new job takes its place", line) for line in warnings
    )


@pytest.mark.soak
def test_a_job_that_reached_its_walltime_is_replaced(
    slurm: Slurm, runner: MakeRunner, whole: Settings, tmp_path: Path
) -> None:
    """The processes of the job stand still, as with a shard that takes longer than the job may."""
    workspace = tmp_path / "workspace"
    settings = on_slurm(whole, workspace, runner(workers=1, walltime="00:01:00"))
    warnings: list[str] = []

    def stand_still() -> None:
        (job,) = slurm.jobs("running")
        slurm.run("scancel", "--signal=STOP", "--full", job)

    with Disturbance(workspace, "extract", 2, stand_still) as stop:
        found = compute(settings, warnings.append)
    assert stop.left < 14, "the stage was over before the job stood still"
    assert found == content(whole)
    assert any(
        re.match(r"job \d+ has ended, TIMEOUT \(TimeLimit\).*; a new job takes its place", line)
        for line in warnings
    ), warnings


def test_a_refused_job_is_submitted_again(
    slurm: Slurm, runner: MakeRunner, whole: Settings, tmp_path: Path
) -> None:
    slurm.run("scontrol", "update", "PartitionName=main", "State=INACTIVE")
    warnings: list[str] = []

    def warn(message: str) -> None:
        warnings.append(message)
        slurm.run("scontrol", "update", "PartitionName=main", "State=UP")

    found = compute(on_slurm(whole, tmp_path / "workspace", runner()), warn)
    assert found == content(whole)
    assert warnings[0].startswith("sbatch refused a job: ")
    assert "inactive" in warnings[0]


def test_a_cluster_can_be_kept_for_several_stages(
    slurm: Slurm, runner: MakeRunner, whole: Settings, tmp_path: Path
) -> None:
    with keep_cluster():
        jobs = []
        for name in ("first", "second"):
            settings = on_slurm(whole, tmp_path / name, {**runner(workers=1), "keep": True})
            with keep_cluster():  # as that of a stage in that of the pipeline
                assert compute(settings, lambda _: None) == content(whole)
            jobs.append(slurm.jobs("running"))
        assert len(jobs[0]) == 1
        assert jobs[0] == jobs[1]
    wait_until(lambda: not slurm.jobs("running"), 60, "the end of the job")


def test_the_job_script_of_the_guide_computes_one_stage(
    slurm: Slurm, whole: Settings, prefect_server: dict[str, str], tmp_path: Path
) -> None:
    fences = MarkdownIt("commonmark").parse((ROOT / "docs" / "guides" / "clusters.md").read_text())
    (script,) = (token.content for token in fences if token.type == "fence" and "#SBATCH" in token.content)
    (tmp_path / "extract.sbatch").write_text(script)
    there = whole.model_copy(update={"workspace": str(tmp_path / "workspace")})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(there.model_dump(mode="json")))
    environment = {
        **prefect_server, **slurm.environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    submit = ["sbatch", "--wait", "--cpus-per-task=1", "--mem=2G", "extract.sbatch", "config.yaml"]
    subprocess.run(submit, cwd=tmp_path, env=environment, check=True, timeout=240)
    assert content(there) == content(whole)
    (log,) = tmp_path.glob("dcn-*.log")
    assert "Traceback" not in log.read_text()


# -- waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queue": "nowhere"}, r"sbatch refused a job: .*invalid partition specified: nowhere"),
        ({"memory": "400GB"}, r"sbatch refused a job: .*[Mm]emory"),
        ({"python": "/no/python"}, r"job \d+ has ended.*Its log ends with: .*/no/python: No such file"),
    ],
)
@pytest.mark.parametrize("workers", [None, 1], ids=["adaptive", "fixed"])
def test_when_no_worker_can_be_had_the_flow_ends_with_a_sentence(
    arguments: dict[str, str], message: str, workers: int | None,
    slurm: Slurm, runner: MakeRunner, whole: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    settings = on_slurm(whole, tmp_path / "workspace", runner(workers, **arguments))
    with pytest.raises(
        ClusterError, match="no worker can be had from runner.cluster dask_jobqueue.SLURMCluster: "
    ) as error:
        compute(settings, lambda _: None)
    assert re.search(message, str(error.value))
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queue": "closed"}, r"job \d+ PENDING \(PartitionDown\); the partition runs no jobs now"),
        ({"job_extra_directives": ["--hold"]}, r"job \d+ PENDING \(JobHeldUser\); see squeue --me"),
        ({"job_extra_directives": ["--begin=now+1hour"]}, r"job \d+ PENDING \(BeginTime\)"),
    ],
)
def test_while_jobs_are_pending_the_flow_says_why_again_and_again(
    arguments: dict[str, str], message: str, slurm: Slurm, runner: MakeRunner, tmp_path: Path
) -> None:
    settings = Settings(
        workspace=str(tmp_path / "w"), runner=RunnerSettings.model_validate(runner(1, **arguments))
    )
    warnings = waiting_messages(settings, 2)
    assert all(line.startswith("no worker is connected for ") for line in warnings)
    assert re.search(message, warnings[-1])
    assert f"the logs in {tmp_path / 'w' / 'job-logs'}" in warnings[-1]


def waiting_messages(settings: Settings, count: int) -> list[str]:
    """What a runner says while its first task waits for a worker; the task is stopped then."""
    warnings: list[str] = []
    with open_runner(settings, warnings.append, QUICK) as opened, ThreadPoolExecutor(1) as pool:
        task = pool.submit(opened.compute, {}, "extract", [0])
        wait_until(lambda: len(warnings) >= count, 60, "the messages")
        opened.stop()
        with pytest.raises(StoppedError):
            task.result()
    return warnings


def test_the_shipped_jobs_do_not_fit_small_nodes_and_the_flow_says_so(
    slurm: Slurm, runner: MakeRunner, tmp_path: Path
) -> None:
    shipped = load_settings("slurm").runner.cluster_arguments
    section = runner(1, **{name: shipped[name] for name in ("cores", "processes", "memory")})
    settings = Settings(workspace=str(tmp_path / "w"), runner=RunnerSettings.model_validate(section))
    (warning,) = waiting_messages(settings, 1)
    assert re.search(
        r"PENDING \(PartitionConfig\); no node of the partition has the cores or the memory", warning
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.soak)]
)
def test_a_signal_while_a_job_is_submitted_ends_the_command_and_leaves_no_job(
    number: signal.Signals, code: int, slurm: Slurm, runner: MakeRunner, whole: Settings, tmp_path: Path
) -> None:
    """A busy SLURM answers after seconds."""
    settings = on_slurm(whole, tmp_path / "workspace", runner(workers=2))
    config, begun, slow = tmp_path / "config.yaml", tmp_path / "begun", tmp_path / "bin" / "sbatch"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ntouch {begun}\nsleep 2\nexec {shutil.which("sbatch")} "$@"\n')
    slow.chmod(0o755)
    path = f"{slow.parent}{os.pathsep}{os.environ['PATH']}"
    running = subprocess.Popen(
        command("extract", config), env={**os.environ, "PATH": path}, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: begun.exists() or running.poll() is not None, 120, "a submission")
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == code, errors
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    wait_until(lambda: not slurm.jobs("pending,running"), 30, "the end of all jobs", interval=0.3)
    assert not list((tmp_path / "shared").iterdir()), "the key of the run stayed"


# -- the certificate and the sockets of a run ------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.soak) for n in (signal.SIGINT, signal.SIGHUP))],
)
def test_the_key_of_a_run_is_private_and_ends_with_it(
    number: signal.Signals, slurm: Slurm, runner: MakeRunner, tmp_path: Path
) -> None:
    section = runner()
    code = (
        "import os, time; os.umask(0)\n"
        "from flows.execution.clusters import open_client\n"
        "from flows.settings import RunnerSettings\n"
        f"with open_client(RunnerSettings.model_validate({section!r}), print, {str(tmp_path)!r}):\n"
        "    print('open', flush=True)\n"
        "    time.sleep(100)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    (folder,) = (tmp_path / "shared").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (-number, 128 + number), "Ctrl-C must not look like success"
    assert not list((tmp_path / "shared").iterdir())


def test_no_process_of_a_run_answers_without_tls_from_another_address(
    slurm: Slurm, runner: MakeRunner, tmp_path: Path
) -> None:
    interface, address = other_address()
    section = RunnerSettings.model_validate(runner(1, interface=interface))
    before = {connection.laddr for connection in psutil.Process().net_connections("inet")}
    with open_client(section, pytest.fail, str(tmp_path)) as client:
        client.wait_for_workers(1, timeout=120)
        (worker,) = client.run(os.getpid).values()
        nanny = psutil.Process(worker).parent()
        assert nanny is not None
        found = plain_answers([psutil.Process(), psutil.Process(worker), nanny], address, without=before)
    assert len(found) >= 4, "scheduler and worker listen for Dask and for HTTP, the nanny for Dask"
    assert set(found.values()) <= {"refused", "TLS"}, found
    assert list(found.values()).count("TLS") == 3, found
