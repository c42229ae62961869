"""The command line, Dask workers and SIGKILL with a real Prefect server."""

import json
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.execution.plan import find_job
from flows.settings import Settings
from tests.deployments.deployed import Deployed
from tests.flows.helpers import STAGES, RunCommand, command, digests, end, photograph_folder_of
from tests.servers import free_port, kill, serve_prefect, start_dask, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the pipeline that :func:`ran` runs."""
    root = tmp_path_factory.mktemp("undisturbed")
    return Settings.model_validate({**tiny_config, "workspace": str(root / "workspace")})


@pytest.fixture(scope="module")
def config_file(undisturbed: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(undisturbed.model_dump(mode="json")))
    return path


@pytest.fixture(scope="module")
def dcn(prefect_server: dict[str, str]) -> RunCommand:
    """Runs the command line in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), env=prefect_server, capture_output=True, text=True, timeout=300, cwd=cwd
        )

    return run


@pytest.fixture(scope="module")
def ran(dcn: RunCommand, config_file: Path, undisturbed: Settings) -> Settings:
    """The pipeline after the command line ran it to its end, undisturbed."""
    result = dcn("run", config_file)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("computed") == len(STAGES)
    assert "report.html" in result.stdout
    assert re.search(r"train 12/12, done in [\d:]+, loss -0\.", result.stderr)
    return undisturbed


def test_a_second_run_reuses_every_stage(dcn: RunCommand, config_file: Path, ran: Settings) -> None:
    result = dcn("run", config_file)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("reused") == len(STAGES)
    assert "computed" not in result.stdout


def test_the_command_line_computes_the_same_as_the_stages(ran: Settings, finished: Settings) -> None:
    assert digests(finished) == digests(ran)


def test_status_and_results_show_every_stage(
    dcn: RunCommand, config_file: Path, ran: Settings, tmp_path: Path
) -> None:
    status = dcn("status", config_file)
    assert status.returncode == 0, status.stderr
    assert status.stdout.count("complete") == len(STAGES)
    results = dcn("results", config_file, "--json")
    stages = json.loads(results.stdout)
    assert set(stages) == set(STAGES)
    assert 0 < stages["evaluate"]["metrics"]["upper_bound"]["accuracy"] <= 1
    assert "k-means mIoU" in dcn("results", config_file).stdout
    empty = dcn("status", config_file, "--workspace", tmp_path)
    assert empty.stdout.count("missing") == len(STAGES)
    missing = dcn("results", config_file, "--json", "--workspace", tmp_path)
    assert missing.returncode == 1
    assert missing.stdout == ""
    assert (
        f"stage index is missing in the workspace {tmp_path}; run the configuration first" in missing.stderr
    )


def test_predict_finds_the_regions_of_the_pipeline(dcn: RunCommand, ran: Settings, tmp_path: Path) -> None:
    job = find_job(ran)
    photograph = photograph_folder_of(ran) / "left" / "scene 03.png"
    (tmp_path / "broken.jpg").write_bytes(b"no")
    shutil.copy(photograph, tmp_path / "[red] $(touch x) & <b>.png")
    result = dcn(
        "predict", photograph, tmp_path / "broken.jpg", tmp_path / "gone.png", tmp_path / "[red] $(touch x) & <b>.png",
        "--model", job.checkpoint("train").location, "--output", tmp_path / "out",
    )  # fmt: skip
    shutil.copy(photograph, tmp_path / "scene.png")
    refused = dcn(
        "predict", tmp_path / "scene.png", "--model", job.checkpoint("train").location, "--output", tmp_path
    )  # fmt: skip
    assert refused.returncode == 1
    assert "beside the photograph" in refused.stderr
    assert (tmp_path / "scene.png").read_bytes() == photograph.read_bytes()
    assert result.returncode == 1
    assert "broken.jpg: the file is not an image of a known format" in result.stderr
    assert "gone.png: No such file or directory" in result.stderr
    exported = dcn(
        "export", "sample", "--what", "regions", "--output", tmp_path / "never", "--workspace", tmp_path
    )
    assert exported.returncode == 1
    from flows.cli.export import export_labels

    export_labels(ran, "regions", tmp_path / "regions")
    expected = np.asarray(Image.open(tmp_path / "regions" / "left" / "scene 03.png"))
    for name in ("scene 03", "[red] $(touch x) & <b>"):
        predicted = Image.open(tmp_path / "out" / "regions" / f"{name}.png")
        assert predicted.mode == "P"
        np.testing.assert_array_equal(np.asarray(predicted), expected)
        assert Image.open(tmp_path / "out" / "overlays" / f"{name}.jpg").size == predicted.size
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "sample", "--set", "train.iterations=none"],
            "train.iterations: write a whole number, not 'none'",
        ),
        (
            ["run", "sample", "--set", "backbone.token_layer=-13"],
            "layer -13 does not exist; the model has 12 blocks",
        ),
    ],
)
def test_a_mistake_gives_a_message_and_no_traceback(
    dcn: RunCommand, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = dcn(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


@pytest.fixture(scope="module")
def dask_scheduler(prefect_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Dask scheduler and two workers on loopback; yields the address of the scheduler."""
    address = f"tcp://127.0.0.1:{free_port()}"
    log = tmp_path_factory.mktemp("dask") / "dask.log"
    started = [
        start_dask(log, *arguments, environment=prefect_server)
        for arguments in (
            ["scheduler", "--host", address],
            ["worker", address, "--nworkers", "2", "--nthreads", "1", "--host", "127.0.0.1"],
        )
    ]
    yield address
    for process in reversed(started):
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize(
    "where", [pytest.param("its own cluster", marks=pytest.mark.soak), "a running scheduler"]
)
def test_dask_workers_compute_the_same_regions(
    dcn: RunCommand, config_file: Path, ran: Settings, tmp_path: Path, dask_scheduler: str, where: str
) -> None:
    option = "workers=2" if where == "its own cluster" else f"address={dask_scheduler}"
    result = dcn(
        "run", config_file, "--workspace", tmp_path, "--set", "runner.kind=dask", "--set", f"runner.{option}"
    )
    assert result.returncode == 0, result.stderr
    here = ran.model_copy(update={"workspace": str(tmp_path)})
    ours, theirs = digests(here), digests(ran)
    # Workers have another number of threads, so sums differ in their last bits, and few pixels change regions.
    area = [find_job(s).checkpoint("segment").array("area").rows(0, 14) for s in (here, ran)]
    assert set(ours) == set(theirs)
    assert np.abs(area[0] - area[1]).max() <= 48 * 64 * 0.02


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_run_killed_at_random_moments_can_be_finished_by_the_same_command(
    ran: Settings, config_file: Path, dcn: RunCommand, prefect_server: dict[str, str], tmp_path: Path
) -> None:
    """The results are bit-identical, and no finished shard is computed again.

    Each stage gets three SIGKILLs: one at a random moment after the stage began, and two while the same command
    starts again.
    """
    arguments = command("run", config_file, "--workspace", tmp_path)
    finished: dict[Path, int] = {}

    def check_records() -> None:
        """Check that no existing record was written again."""
        for record in tmp_path.glob("*/*/shards/*.json"):
            written = record.stat().st_mtime_ns
            assert finished.setdefault(record, written) == written

    for stage in STAGES:
        rng = random.Random(stage)
        folder = tmp_path / stage
        for _ in range(3):
            process = subprocess.Popen(
                arguments, env=prefect_server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            wait_until(lambda: folder.exists() or process.poll() is not None, 120, f"stage {stage}")  # noqa: B023
            time.sleep(rng.uniform(0, 0.8))
            process.send_signal(signal.SIGKILL)
            process.wait()
            check_records()
    result = dcn("run", config_file, "--workspace", tmp_path)
    assert result.returncode == 0, result.stderr
    check_records()
    here = ran.model_copy(update={"workspace": str(tmp_path)})
    assert digests(here) == digests(ran)


def test_a_flow_refuses_wrong_parameters(prefect_server: dict[str, str]) -> None:
    from prefect.exceptions import ParameterTypeError

    from flows.pipeline import FLOWS

    with temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        with pytest.raises(ParameterTypeError, match="iterations"):
            FLOWS["train"](train={"iterations": 0})
        with pytest.raises(ParameterTypeError, match="iteratons"):
            FLOWS["train"](train={"iteratons": 5})


def test_a_server_that_dies_gives_a_message_and_no_traceback(
    tiny_config: dict[str, object], tmp_path: Path
) -> None:
    train = {**cast(dict[str, object], tiny_config["train"]), "iterations": 100_000, "save_seconds": 0}
    config, workspace = tmp_path / "config.yaml", tmp_path / "workspace"
    config.write_text(yaml.safe_dump({**tiny_config, "train": train}))
    (tmp_path / "home").mkdir()
    with serve_prefect(tmp_path / "home") as environment:
        port = environment["PREFECT_API_URL"].rpartition(":")[2].removesuffix("/api")
        # A server of another test runs beside it, and may have started with a larger process number.
        alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
        (server,) = [child for child in alive if child.cmdline()[-1:] == [port]]
        running = subprocess.Popen(
            command("train", config, "--workspace", workspace),
            # By default Prefect retries six times, which takes minutes.
            env={**environment, "PREFECT_CLIENT_MAX_RETRIES": "2"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(
            lambda: any(workspace.glob("train/*/files/state.safetensors")) or running.poll() is not None,
            120,
            "the training",
        )
        kill([*server.children(recursive=True), server])
        running.send_signal(signal.SIGTERM)  # the flow then reports its end to the server
        code, errors = end(running)
    assert code == 1, errors
    assert "the Prefect server does not answer any more" in errors
    assert "the same command continues" in errors


def test_the_command_line_records_its_runs_on_the_server(
    dcn: RunCommand, config_file: Path, ran: Settings, prefect_server: dict[str, str]
) -> None:
    server = Deployed(prefect_server, Path(prefect_server["PREFECT_HOME"]))
    with server.client() as client:
        before = {flow_run.id for flow_run in client.read_flow_runs()}
        assert dcn("evaluate", config_file).returncode == 0
        (added,) = [run for run in client.read_flow_runs() if run.id not in before]
    assert added.state_name == "Completed"


def test_settings_that_prefect_refuses_are_a_sentence(
    prefect_server: dict[str, str], config_file: Path
) -> None:
    result = subprocess.run(
        command("index", config_file), env={**prefect_server, "PREFECT_LOGGING_LEVEL": "garbage"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert said.startswith("error Prefect cannot be set up for the server http://127.0.0.1:")
    assert "LoggingSettings, level: Input should be 'DEBUG'" in said
    assert "not GARBAGE. Put that right" in said
