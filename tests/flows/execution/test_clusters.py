"""Dask, real: local clusters, schedulers and workers in processes of their own, TLS, and kills."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any, TypeVar

import cloudpickle
import psutil
import pytest
import yaml
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security, Worker
from distributed.deploy.cluster import Cluster
from PIL import Image
from prefect.settings import PREFECT_API_URL, temporary_settings

from dcn.datasets import DatasetOptions
from flows.errors import ClusterError, StoppedError
from flows.execution import clusters
from flows.execution.clusters import open_client, open_cluster
from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.execution.runners import open_runner
from flows.execution.waiting import Patience
from flows.settings import RunnerSettings, Settings
from flows.stage import Job
from storage import StorageError
from tests.conftest import draw_scene
from tests.flows.helpers import (
    MakeSettings,
    command,
    end,
    photograph_folder_of,
    records,
    run_stages,
    without_truth,
)
from tests.network import other_address, plain_answers, write_certificate
from tests.servers import free_port, start_dask, wait_until

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow
# Starts a process: Dask's, whose log is bytes, or the command line, whose output is text.
StartDask = Callable[..., subprocess.Popen[bytes]]
StartCommand = Callable[..., subprocess.Popen[str]]
Started = TypeVar("Started", subprocess.Popen[bytes], subprocess.Popen[str])
# What is asked in a worker is sent as it is: to import this module would import conftest, which sets the
# number of threads.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


# -- a stage that takes seconds, a shard a photograph ----------------------------------------------------


@pytest.fixture(scope="module")
def whole(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """``extract`` as this process computes it, undisturbed."""
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


@pytest.fixture
def config_file(whole: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(whole.model_dump(mode="json", exclude={"workspace", "runner"})))
    return path


def content(settings: Settings, workspace: Path) -> tuple[str, Any]:
    """Key and digests of ``extract`` in a workspace."""
    job = find_job(settings.model_copy(update={"workspace": str(workspace)}), "extract")
    checkpoint = job.checkpoint("extract")
    return checkpoint.key, checkpoint.digests()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Runs the registered callbacks at the end of the test."""
    with ExitStack() as stack:
        yield stack


def kill_at_end(stack: ExitStack, process: Started) -> Started:
    """Kill a process at the end of the test, if it still runs. Returns the process."""
    stack.callback(process.communicate)
    stack.callback(process.kill)
    return process


@pytest.fixture
def extract(
    prefect_server: dict[str, str], config_file: Path, tmp_path: Path, stack: ExitStack
) -> StartCommand:
    """Begins ``dcn extract`` on the slow stage, in a workspace of the test's own."""

    def begin(*settings: str, **environment: str) -> subprocess.Popen[str]:
        options = [part for setting in settings for part in ("--set", setting)]
        return kill_at_end(
            stack,
            subprocess.Popen(
                command("extract", config_file, "--workspace", tmp_path / "workspace", "--set", "runner.kind=dask", *options),
                env={**prefect_server, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip

    return begin


@pytest.fixture
def start(prefect_server: dict[str, str], tmp_path: Path, stack: ExitStack) -> StartDask:
    """Starts ``dask scheduler`` or ``dask worker``."""

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        log = tmp_path / f"dask-{arguments[0]}.log"
        return kill_at_end(stack, start_dask(log, *arguments, environment={**prefect_server, **environment}))

    return begin


def start_scheduler(
    start: StartDask, address: str, *options: str, **environment: str
) -> subprocess.Popen[bytes]:
    return start("scheduler", "--host", address, *options, **environment)


def start_worker(start: StartDask, address: str, *options: str) -> subprocess.Popen[bytes]:
    """One process, without a nanny: dead is dead."""
    return start(
        "worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1",
        "--death-timeout", "60", *options,
    )  # fmt: skip


def start_cluster(
    start: StartDask, workers: int, **environment: str
) -> tuple[str, subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]:
    """A scheduler and its workers, connected; its address and the processes."""
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = start_scheduler(start, address, **environment)
    started = [start_worker(start, address) for _ in range(workers)]
    wait_for_workers(address, workers)
    return address, scheduler, started


def wait_for_shards(running: subprocess.Popen[str], workspace: Path, count: int = 3) -> dict[Path, int]:
    """The records, as soon as there are so many, or the command has ended."""
    wait_until(
        lambda: len(records(workspace, "extract")) >= count or running.poll() is not None,
        120,
        f"{count} shards",
    )
    return records(workspace, "extract")


def wait_for_workers(address: str, count: int, security: Security | None = None) -> None:
    with Client(address, security=security, set_as_default=False, timeout=120) as client:
        client.wait_for_workers(count, timeout=120)


# -- what is lost in the middle --------------------------------------------------------------------------


def test_a_killed_worker_costs_its_shards_and_nothing_else(
    start: StartDask, extract: StartCommand, whole: Settings, tmp_path: Path
) -> None:
    address, _, workers = start_cluster(start, 2)
    running = extract(f"runner.address={address}")
    workspace = tmp_path / "workspace"
    before = wait_for_shards(running, workspace)
    workers[0].kill()
    assert len(before) < 14, "the stage was over before the worker died"
    code, errors = end(running)
    assert code == 0, errors
    assert content(whole, workspace) == content(whole, Path(whole.workspace))
    # What was on storage was not written again, though Dask may give a finished range to another worker.
    assert before.items() <= records(workspace, "extract").items()


def test_a_killed_worker_of_the_local_cluster_is_replaced(
    extract: StartCommand, whole: Settings, tmp_path: Path
) -> None:
    running = extract("runner.workers=2")
    workspace = tmp_path / "workspace"
    wait_for_shards(running, workspace)
    workers = [
        process
        for process in psutil.Process(running.pid).children(recursive=True)
        if "spawn_main" in " ".join(process.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    assert len(records(workspace, "extract")) < 14, "the stage was over before the worker died"
    code, errors = end(running)
    assert code == 0, errors
    assert content(whole, workspace) == content(whole, Path(whole.workspace))


def test_shards_that_kill_their_workers_end_the_flow_with_a_sentence(
    start: StartDask, extract: StartCommand, whole: Settings, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    address, _, (worker,) = start_cluster(start, 1, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    running = extract(f"runner.address={address}")
    workspace = tmp_path / "workspace"
    before = wait_for_shards(running, workspace)
    worker.kill()
    code, errors = end(running)
    assert code == 1
    assert re.search(
        r"error the worker that computed shards \d+ to \d+ of extract died in attempt 1 of 1", errors
    )
    assert f"at {address.rpartition(':')[0]}" in errors
    assert "memory ran out, or because its job reached its walltime or was cancelled" in errors
    assert "the same command computes the rest" in errors
    # The states reach the server as events.
    wait_until(
        lambda: task_states(prefect_server) == {"COMPLETED", "FAILED"}, 60, "the states of all tasks", 1
    )

    start_worker(start, address)
    code, errors = end(extract(f"runner.address={address}"))
    assert code == 0, errors
    assert content(whole, workspace) == content(whole, Path(whole.workspace))
    assert before.items() <= records(workspace, "extract").items()


def task_states(prefect_server: dict[str, str]) -> set[str]:
    """States of the task runs that the server knows."""
    from prefect.client.orchestration import get_client

    address = temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]})
    with address, get_client(sync_client=True) as client:
        return {run.state_type.value for run in client.read_task_runs(limit=200) if run.state_type}


def test_a_killed_scheduler_ends_the_flow_and_the_same_command_finishes(
    start: StartDask, extract: StartCommand, whole: Settings, tmp_path: Path
) -> None:
    address, scheduler, _ = start_cluster(start, 1)
    running = extract(f"runner.address={address}")
    workspace = tmp_path / "workspace"
    wait_for_shards(running, workspace)
    scheduler.kill()
    scheduler.wait()
    code, errors = end(running)
    assert code == 1
    assert f"the scheduler of {address} was lost before shards" in errors
    before = records(workspace, "extract")

    code, errors = end(extract(f"runner.address={address}", DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="3s"))
    assert code == 1
    assert f"no Dask scheduler answers at runner.address {address}" in errors

    start_scheduler(start, address)
    start_worker(start, address)
    code, errors = end(extract(f"runner.address={address}"))
    assert code == 0, errors
    assert content(whole, workspace) == content(whole, Path(whole.workspace))
    assert before.items() <= records(workspace, "extract").items()


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_a_cluster_without_this_package_ends_the_flow_with_a_sentence(
    role: str, start: StartDask, extract: StartCommand, tmp_path: Path
) -> None:
    """It would break the connection over the first shard, and the flow would wait for ever."""
    without = tmp_path / "without"
    without.mkdir()
    (without / "flows.py").write_text("raise ModuleNotFoundError(\"No module named 'flows'\")")
    environments = {"scheduler": {}, "worker": {}, role: {"PYTHONPATH": str(without)}}
    address = f"tcp://127.0.0.1:{free_port()}"
    start_scheduler(start, address, **environments["scheduler"])
    start("worker", address, "--nthreads", "1", "--host", "127.0.0.1", **environments["worker"])
    wait_for_workers(address, 1)
    code, errors = end(extract(f"runner.address={address}"))
    assert code == 1, errors
    assert f"runner.address {address} cannot import this package (No module named 'flows')" in errors


def test_a_worker_of_another_version_is_named(start: StartDask, tmp_path: Path) -> None:
    """Whether it is there when the flow connects, or comes later."""
    other = tmp_path / "other" / "dynamic_clustering_network-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: dynamic-clustering-network\nVersion: 9.9\n")
    path = f"{other.parent}{os.pathsep}{os.environ.get('PYTHONPATH', ROOT)}"
    address = f"tcp://127.0.0.1:{free_port()}"
    start_scheduler(start, address)
    settings = Settings(runner=RunnerSettings(kind="dask", address=address))
    named = r"worker .*has version 9\.9 of this package, and the flow has "
    said: list[str] = []
    quick = Patience(first=0.5, again=0.5, step=0.1)
    with open_runner(settings, said.append, quick) as runner, ThreadPoolExecutor(1) as pool:
        task = pool.submit(runner.compute, {}, "extract", [0])
        wait_until(lambda: len(said) > 1, 30, "two messages")
        start("worker", address, "--nthreads", "1", "--host", "127.0.0.1", PYTHONPATH=path)
        with pytest.raises(ClusterError, match=named):
            task.result(60)
    assert re.match(
        rf"no worker is connected for \d+ s: the scheduler at runner.address {address} answers", said[0]
    )
    with pytest.raises(ClusterError, match=named), open_runner(settings, pytest.fail):
        pass


def test_a_worker_that_is_lost_during_the_check_is_left_out(start: StartDask) -> None:
    address, _, (_, second) = start_cluster(start, 2)
    settings = Settings(runner=RunnerSettings(kind="dask", address=address))
    second.send_signal(signal.SIGSTOP)  # so that it does not answer
    killing = Timer(3, second.kill)
    killing.start()
    with open_runner(settings, pytest.fail):
        assert not killing.is_alive(), "the check did not wait for the second worker"


def test_a_paused_worker_is_no_silent_hang(start: StartDask) -> None:
    """Its memory is nearly full, as Dask sees it: the limit is what the process needs already."""
    address = f"tcp://127.0.0.1:{free_port()}"
    start_scheduler(start, address)
    start("worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", "--memory-limit", "20MB")
    settings = Settings(runner=RunnerSettings(kind="dask", address=address))
    said: list[str] = []
    quick = Patience(first=0.5, again=0.5, step=0.1)
    with open_runner(settings, said.append, quick) as runner, ThreadPoolExecutor(1) as pool:
        task = pool.submit(runner.compute, {}, "extract", [0])
        wait_until(lambda: any("paused" in line for line in said), 60, "a message")
        runner.stop()
        with pytest.raises(StoppedError):
            task.result(60)
    assert re.match(r"no worker computes for \d+ s: 1 connected, paused; a worker pauses at 80 %", said[-1])


@pytest.mark.usefixtures("terminal_signals")
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_worker_does_not_finish_its_range_for_a_flow_that_ended(
    number: signal.Signals, expected: int, start: StartDask, extract: StartCommand, tmp_path: Path
) -> None:
    """A range has four shards here. The worker finishes the one that it computes, and takes no other."""
    address, _, _ = start_cluster(start, 1)
    running = extract(f"runner.address={address}", "backbone.input_size=448")  # slow enough to be met
    workspace = tmp_path / "workspace"
    wait_for_shards(running, workspace, 1)
    running.send_signal(number)
    code, errors = end(running)
    assert code == expected, errors
    if number == signal.SIGINT:
        assert "the same command continues" in errors
    with Client(address, set_as_default=False) as client:
        wait_until(lambda: not any(client.run(tasks_in_progress).values()), 60, "the end of the work")
    assert len(records(workspace, "extract")) < 4


def tasks_in_progress(dask_worker: Worker) -> int:
    return len(dask_worker.active_threads)


# -- TLS -------------------------------------------------------------------------------------------------


def test_a_scheduler_and_a_worker_with_tls(
    start: StartDask, extract: StartCommand, whole: Settings, tmp_path: Path
) -> None:
    ours, others = write_certificate(tmp_path / "ours"), write_certificate(tmp_path / "others")
    files = ["--tls-ca-file", ours["ca_file"], "--tls-cert", ours["cert"], "--tls-key", ours["key"]]
    address = f"tls://127.0.0.1:{free_port()}"
    start_scheduler(start, address, *files)
    start_worker(start, address, *files)
    security = Security(
        require_encryption=True, tls_ca_file=ours["ca_file"], tls_client_cert=ours["cert"], tls_client_key=ours["key"]
    )  # fmt: skip
    wait_for_workers(address, 1, security)

    where = f"runner.address={address}"
    code, errors = end(extract(where, f"runner.tls={others}", DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="3s"))
    assert code == 1
    assert f"no Dask scheduler answers at runner.address {address}" in errors
    code, errors = end(extract(where, f"runner.tls={ {**ours, 'key': str(tmp_path / 'gone.pem')} }"))
    assert code == 1
    assert f"runner.tls.key: there is no file {tmp_path / 'gone.pem'}" in errors
    assert not records(tmp_path / "workspace", "extract")

    code, errors = end(extract(where, f"runner.tls={ours}"))
    assert code == 0, errors
    assert "does not use TLS" not in errors
    assert content(whole, tmp_path / "workspace") == content(whole, Path(whole.workspace))


def test_the_commands_of_the_guide_open_nothing_but_tls(start: StartDask, tmp_path: Path) -> None:
    """Asked from another address of this machine."""
    _, host = other_address()
    text = (ROOT / "docs" / "guides" / "clusters.md").read_text().replace("\\\n", " ")
    commands = [
        shlex.split(line) for line in text.splitlines() if line.startswith(("dask scheduler", "dask worker"))
    ]
    assert len(commands) == 4
    certificate = write_certificate(tmp_path / "ours")
    port = free_port()
    for words in commands[:2]:
        assert "--tls-key" in words
        address = f"tls://{host if words[1] == 'worker' else '0.0.0.0'}:{port}"
        options = [
            certificate["ca_file" if word == "ca.pem" else word.removesuffix(".pem")]
            if word.endswith(".pem")
            else word
            for word in words[2:]
        ]
        start(
            words[1],
            *(address if word.startswith("tls://") else "1" if word == "8" else word for word in options),
        )
    security = Security(
        require_encryption=True, tls_ca_file=certificate["ca_file"], tls_client_cert=certificate["cert"], tls_client_key=certificate["key"]
    )  # fmt: skip
    wait_for_workers(f"tls://{host}:{port}", 1, security)
    here = psutil.Process()
    ours = [process for process in here.children(recursive=True) if "dask" in " ".join(process.cmdline())]
    found = plain_answers([*ours, *(child for process in ours for child in process.children())], host)
    assert len(found) >= 5, found
    assert set(found.values()) <= {"refused", "TLS"}, found
    assert all("--dashboard-address 127.0.0.1:0" in " ".join(words) for words in commands)


def test_a_scheduler_on_the_network_without_tls_is_warned_of(start: StartDask) -> None:
    addresses = [address for found in psutil.net_if_addrs().values() for address in found]
    hosts = [address.address for address in addresses if address.family.name == "AF_INET"]
    host = next((host for host in hosts if not host.startswith("127.")), None)
    if host is None:
        pytest.skip("this machine has no network")
    address = f"tcp://{host}:{free_port()}"
    start_scheduler(start, address)
    warnings: list[str] = []
    with open_client(RunnerSettings(kind="dask", address=address), warnings.append):
        pass
    (warning,) = warnings
    assert warning.startswith(
        f"the Dask scheduler at {address} does not use TLS: whoever reaches it can run code"
    )
    with open_client(RunnerSettings(kind="dask"), warnings.append) as client:
        assert client.scheduler is not None
        listening = [client.scheduler.address, *client.scheduler_info()["workers"]]
    assert all(place.startswith("tcp://127.0.0.1:") for place in listening)
    assert len(warnings) == 1


# -- what a worker is ------------------------------------------------------------------------------------


def threads_of_a_worker() -> dict[str, int]:
    """Asked in the worker: threads of each library that computes."""
    import numba
    import torch
    from threadpoolctl import threadpool_info

    from flows.inputs.parallel import in_threads
    from storage.threads import THREADS

    pools = {Path(pool["filepath"]).name: pool["num_threads"] for pool in threadpool_info()}

    def place(_: int) -> int:
        time.sleep(0.01)  # no thread computes all
        return threading.get_ident()

    places = set(in_threads(place, range(64)))
    return {
        **pools,
        "torch": torch.get_num_threads(),
        "numba": numba.get_num_threads(),
        "tensorstore": THREADS,
        "in_threads": len(places),
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_the_cores(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS")
    share = max(1, CPU_COUNT // workers)
    with open_client(RunnerSettings(kind="dask", workers=workers), pytest.fail) as client:
        client.wait_for_workers(workers)
        asked = client.run(threads_of_a_worker)
        slots = [worker["nthreads"] for worker in client.scheduler_info()["workers"].values()]
    assert slots == [1] * workers
    assert len(asked) == workers
    for found in asked.values():
        assert found["torch"] == found["tensorstore"] == found["numba"] == share
        assert max(found.values()) <= share, found


def test_a_worker_that_was_started_by_hand_has_one_thread(start: StartDask) -> None:
    """As those of SLURM and Kubernetes are: ``--nworkers 2 --nthreads 1``, with a nanny."""
    address = f"tcp://127.0.0.1:{free_port()}"
    start_scheduler(start, address)
    start("worker", address, "--nworkers", "2", "--nthreads", "1", "--host", "127.0.0.1")
    wait_for_workers(address, 2)
    with open_client(RunnerSettings(kind="dask", address=address), pytest.fail) as client:
        asked = client.run(threads_of_a_worker)
    assert len(asked) == 2
    for found in asked.values():
        del found["numba"]  # nothing here is compiled with parallel=True, so numba starts no thread
        assert set(found.values()) == {1}, found


def loads() -> int:
    """Asked in the worker: how often a backbone was loaded."""
    from flows.inputs.models import _load_backbone

    assert "prefect" not in sys.modules, "a worker needs no Prefect"
    return _load_backbone.cache_info().misses


def test_a_worker_loads_the_backbone_once(whole: Settings, tmp_path: Path) -> None:
    job = begun_extract(whole.model_copy(update={"workspace": str(tmp_path / "workspace")}))
    with open_client(RunnerSettings(kind="dask", workers=2), pytest.fail) as client:
        client.wait_for_workers(2)
        tasks = [client.submit(compute_shards, job, "extract", [shard], pure=False) for shard in range(14)]
        assert sum(len(task.result()["shards"]) for task in tasks) == 14
        assert set(client.run(loads).values()) == {1}
        did = [len(tasks) for tasks in client.has_what().values()]
    assert min(did) > 1, "a worker had one task, so it tells nothing"


def test_a_worker_with_several_tasks_at_once_loads_the_backbone_once(whole: Settings, tmp_path: Path) -> None:
    job = begun_extract(whole.model_copy(update={"workspace": str(tmp_path / "workspace")}))
    with (
        LocalCluster(n_workers=1, threads_per_worker=4, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        tasks = [client.submit(compute_shards, job, "extract", [shard], pure=False) for shard in range(14)]
        client.gather(tasks)
        assert set(client.run(loads).values()) == {1}
    checkpoint = job.checkpoint("extract")
    manifest = checkpoint.read_manifest()
    assert manifest is not None
    theirs = [checkpoint.read_record(shard).digests for shard in range(14)]
    expected = find_job(whole, "extract").checkpoint("extract")
    assert theirs == [expected.read_record(shard).digests for shard in range(14)]


def begun_extract(settings: Settings) -> Job:
    """A job whose ``extract`` has all its shards to compute."""
    run_stages(settings, "index")
    job = find_job(settings, "extract")
    with pytest.raises(StorageError, match="has no record"):  # nobody computes a shard
        run_stage(job, "extract", lambda *_: None, lambda _: None)
    return job


def test_the_memory_of_a_worker_stays_flat(tiny_config: dict[str, Any], tmp_path: Path) -> None:
    """150 shards of two photographs each through one worker, its resident memory looked at from here."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(300):
        Image.fromarray(draw_scene(i)[0]).save(photos / f"{i:04d}.png")
    settings = Settings.model_validate(
        {
            **tiny_config,
            "dataset": {"name": "folder", "root": str(photos)},
            "workspace": str(tmp_path / "workspace"),
            "shard_images": 2,
        }
    )
    job = begun_extract(settings)
    resident = []
    with open_client(RunnerSettings(kind="dask", workers=1), pytest.fail) as client:
        (pid,) = client.run(os.getpid).values()
        for shard in range(150):
            client.submit(compute_shards, job, "extract", [shard], pure=False).result()
            resident.append(psutil.Process(pid).memory_info().rss / 1e6)
    # The first fifty tasks fill pools and caches. A megabyte of each shard that stayed would add 75.
    early, late = median(resident[50:70]), median(resident[130:])
    assert late - early < 20, f"{early:.0f} MB after 50 shards, {late:.0f} MB after 130"


# -- settings ----------------------------------------------------------------------------------------------


def test_relative_paths_are_absolute_for_a_worker(
    whole: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with another working directory finds data set, weights and workspace; the keys are the same."""
    root = photograph_folder_of(whole).parent
    shutil.copy(str(whole.backbone.weights), tmp_path / "weights.safetensors")
    shutil.copytree(root, tmp_path / "folder")
    values = whole.model_dump(mode="json", exclude={"workspace"})
    values["dataset"].update(root="folder/photos", masks="folder/masks", classes="folder/classes.txt")
    values["backbone"]["weights"] = "weights.safetensors"
    monkeypatch.chdir(tmp_path)
    job = begun_extract(Settings.model_validate({**values, "workspace": "workspace"}))
    assert job.keys["extract"] == find_job(whole, "extract").keys["extract"]
    sent = job.to_json()
    monkeypatch.chdir("/")
    compute_shards(Job.from_json(sent), "extract", [0])
    assert [path.name for path in (tmp_path / "workspace").glob("extract/*/shards/*")] == ["000000.json"]


def test_the_flows_of_a_flow_list_the_data_set_once(
    prefect_server: dict[str, str],
    tiny_settings: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.execution import plan
    from flows.pipeline import FLOWS, sections
    from flows.stages.index import listing_digest

    asked: list[DatasetOptions] = []

    def counted(dataset: DatasetOptions) -> str:
        asked.append(dataset)
        return listing_digest(dataset)

    monkeypatch.setattr(plan, "listing_digest", counted)
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        Image.fromarray(draw_scene(i)[0]).save(photos / f"{i}.png")
    settings = tiny_settings(dataset=without_truth(photos))
    with temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        (*_, first) = FLOWS["train"](**sections(settings))
        assert len(asked) == 1
        # A process that lives on sees what has changed since.
        Image.fromarray(draw_scene(6)[0]).save(photos / "6.png")
        (*_, second) = FLOWS["train"](**sections(settings))
    assert len(asked) == 2
    assert first.key != second.key


@pytest.mark.parametrize("server", [False, True], ids=["without Prefect", "with Prefect"])
def test_a_flow_keeps_one_cluster_for_all_its_stages(
    server: bool,
    prefect_server: dict[str, str],
    tiny_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows import pipeline
    from flows.orchestration import in_process

    opened: list[Cluster] = []

    @contextmanager
    def counted(settings: RunnerSettings, workspace: str) -> Iterator[Cluster]:
        with open_cluster(settings, workspace) as cluster:
            opened.append(cluster)
            yield cluster

    monkeypatch.setattr(clusters, "open_cluster", counted)
    settings = tiny_settings(runner={"kind": "dask", "workers": 1, "keep": True})
    with temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        records = (pipeline if server else in_process).call_flow("extract", settings)
    assert [(record.stage, record.reused) for record in records] == [("index", False), ("extract", False)]
    (cluster,) = opened
    assert cluster.status.name == "closed"
