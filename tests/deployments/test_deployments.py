"""The deployments of prefect.yaml with a work pool and a worker, on both databases of Prefect's server."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from flows.execution.plan import STAGES as ALL_STAGES
from flows.execution.plan import find_job
from flows.settings import Settings
from flows.stages import STAGE_TABLE
from tests.deployments.deployed import Deployed, as_options, percent_of, text_of
from tests.flows.helpers import STAGES, MakeSettings, digests
from tests.servers import wait_until, work

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker(deployed: Deployed) -> Iterator[None]:
    with work(deployed.environment, deployed.home / "worker.log"):
        yield


def file_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_second_pipeline_reuses_checkpoints_of_the_first(
    deployed: Deployed, worker: None, tiny_settings: MakeSettings, finished: Settings
) -> None:
    settings = tiny_settings(runner={"task_timeout": 3600})
    first = deployed.prefect("deployment", "run", "pipeline/demo", "--watch", *as_options(settings))
    assert "Completed" in first.stdout
    assert digests(settings) == digests(finished)
    check_pages(deployed, settings)
    check_log(deployed, UUID(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", first.stdout)[0]))

    workspace = Path(settings.workspace)
    times = file_times(workspace)
    again = deployed.wait(deployed.submit("pipeline/demo", settings), "Completed", "Failed", "Crashed")
    assert again.state_name == "Completed"
    assert again.name == "photos: pipeline"
    assert file_times(workspace) == times

    other = tiny_settings(train={"num_prototypes": 2})
    trained = deployed.wait(deployed.submit("train/demo-train", other), "Completed", "Failed", "Crashed")
    assert trained.state_name == "Completed"
    assert find_job(other).checkpoint("train").require().complete
    assert find_job(other).keys["extract"] == find_job(settings).keys["extract"]
    assert {path: time for path, time in file_times(workspace).items() if path in times} == times


def check_log(deployed: Deployed, run: UUID) -> None:
    """Check the log of a pipeline that computed every stage, and the names of the flow runs in it."""
    wait_until(lambda: any(line.startswith("report/") for _, line in deployed.log(run)), 60, "the log")
    lines = [line for _, line in deployed.log(run)]
    for stage in STAGES:
        assert [line for line in lines if re.match(rf"{stage}/\w{{32}} computed in [\d.]+ s: \w", line)], (
            lines
        )
    tenths = [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert [int(match[1]) for line in lines if (match := re.match(r"train (\d+)/12, loss", line))] == tenths
    runs = [run]
    for one in runs:  # grows: the flow of a stage calls one of its shards
        runs.extend(deployed.subflows(one))
    names = {deployed.read(one).name for one in runs}
    assert {f"photos: {name}" for name in ("pipeline", *STAGES, "extract shards")} <= names
    assert all(name.startswith("photos: ") for name in names)
    # The tasks of the shards run in threads, where Prefect cannot interrupt them.
    assert not [line for one in runs for level, line in deployed.log(one) if level >= logging.WARNING]


def check_pages(deployed: Deployed, settings: Settings) -> None:
    """Check the artifacts on the pages of the flow runs."""
    artifacts = deployed.artifacts()
    assert {stage.replace("_", "-") for stage in STAGES} <= set(artifacts)
    metrics = {row["metric"]: row["value"] for row in json.loads(text_of(artifacts["evaluate"]))}
    assert 0 < float(metrics["upper_bound.accuracy"]) <= 1
    assert "k-means mIoU" in {row["name"] for row in json.loads(text_of(artifacts["pipeline"]))}
    report = Path(find_job(settings).checkpoint("report").file_location("report.html"))
    assert f"[`{report.as_uri()}`](<{report.as_uri()}>)" in text_of(artifacts["report"])
    for stage in ("segment", "report"):
        kind, _, picture = text_of(artifacts[f"{stage}-pictures"]).partition("base64,")
        assert kind == "data:image/jpeg;"
        assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "JPEG"
    images, iterations = (14, 14), (12, 12)
    for stage, (done, total) in {"extract": images, "train": iterations, "segment": images}.items():
        progress = artifacts[f"{stage}-progress"]
        assert (progress.type, percent_of(progress)) == ("progress", 100.0)
        assert str(progress.description).startswith(f"{stage} {done}/{total}")
    assert "loss -0." in str(artifacts["train-progress"].description)
    assert percent_of(artifacts["pipeline-progress"]) == 100.0


def test_a_wrong_parameter_is_refused(deployed: Deployed) -> None:
    arguments = ("deployment", "run", "train/demo-train", "-p", 'train={"iterations": "many"}')
    result = deployed.prefect(*arguments, check=False)
    assert result.returncode != 0
    assert "iterations" in result.stdout + result.stderr


def test_a_sweep_runs_from_its_form(deployed: Deployed, worker: None, tiny_settings: MakeSettings) -> None:
    settings = tiny_settings(sweep={"over": {"train.num_prototypes": [2, 3], "train.self_update": [False]}})
    run = deployed.wait(deployed.submit("sweep/demo-prototypes", settings), "Completed", "Failed", "Crashed")
    assert run.state_name == "Completed", run.state
    rows = json.loads(text_of(deployed.artifacts(run.id)["compare"]))
    assert [row["variant"].strip("`→ ") for row in rows] == [
        f"train.num_prototypes={k}, train.self_update=false" for k in (2, 3)
    ]


def test_runs_of_one_deployment_wait_for_each_other(
    deployed: Deployed, worker: None, tiny_settings: MakeSettings
) -> None:
    settings = tiny_settings()
    first, second = (deployed.submit("index/demo-index", settings) for _ in range(2))
    ended = [deployed.wait(run, "Completed", "Failed", "Crashed") for run in (first, second)]
    assert [run.state_name for run in ended] == ["Completed", "Completed"]
    spans = sorted((run.start_time, run.end_time, run.id) for run in ended if run.start_time and run.end_time)
    (_, earlier_end, earlier), (later_start, _, later) = spans
    assert earlier_end <= later_start
    with deployed.client() as client:
        histories = [{state.name for state in client.read_flow_run_states(run)} for run in (earlier, later)]
    assert "AwaitingConcurrencySlot" in histories[1] - histories[0]


def test_every_flow_has_a_deployment_and_its_form_explains_every_parameter(deployed: Deployed) -> None:
    with deployed.client() as client:
        deployments = {
            str(deployment.entrypoint).partition(":")[2]: deployment
            for deployment in client.read_deployments()
        }
    # The flow language needs weights: prefect-language.yaml.
    assert set(deployments) == {*ALL_STAGES, "pipeline", "compare", "sweep", "ladder"} - {"language"}
    names = [deployment.name for deployment in deployments.values()]
    assert deployments["pipeline"].name == "demo"
    assert len(set(names)) == len(names)
    descriptions = {entry.name: entry.description for entry in STAGE_TABLE}
    for name, deployment in deployments.items():
        assert deployment.work_pool_name == "dcn"
        description = deployment.description or ""
        assert description.startswith(descriptions.get(name, "Run "))
        assert description.endswith(".")
        assert "`" not in description
        assert {"dcn", "sample"} <= set(deployment.tags)
        limit = deployment.global_concurrency_limit
        assert limit is not None
        assert limit.limit == 1
        assert [schedule.active for schedule in deployment.schedules] == [False] * (name == "pipeline")
        assert deployment.parameter_openapi_schema is not None
        check_form(deployment.parameter_openapi_schema)


def check_form(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == set(Settings.model_fields)
    silent = [name for name, entry in schema["properties"].items() if not entry.get("description")]
    for section, definition in schema["definitions"].items():
        if not definition.get("description"):
            silent.append(section)
        for name, entry in definition.get("properties", {}).items():
            described = [entry, *entry.get("anyOf", [])]
            if "const" not in entry and not any(choice.get("description") for choice in described):
                silent.append(f"{section}.{name}")
    assert not silent
    assert all(entry["description"].endswith(".") for entry in schema["properties"].values())
    for choice in (
        schema["properties"]["dataset"],
        schema["definitions"]["SegmentSettings"]["properties"]["segmenter"],
    ):
        assert len(choice["anyOf"]) >= 4
    train = schema["definitions"]["TrainSettings"]["properties"]
    assert train["norm"]["enum"] == ["pre", "post"]
    assert train["iterations"]["minimum"] == 1
    assert re.search(
        r"num_prototypes", schema["definitions"]["SweepSettings"]["properties"]["over"]["description"]
    )


def test_prefect_stores_results_as_json_and_never_as_pickle(
    deployed: Deployed, worker: None, tiny_settings: MakeSettings
) -> None:
    """Of a failed run Prefect stores the class and the message of its error, and of other runs nothing."""
    missing = tiny_settings(dataset={"root": "/nowhere"})
    failed = deployed.wait(deployed.submit("index/demo-index", missing), "Completed", "Failed", "Crashed")
    assert failed.state_name == "Failed"
    assert failed.state is not None
    assert "there is no folder /nowhere" in str(failed.state.message)
    kept = [path for path in (deployed.home / "storage").rglob("*") if path.is_file()]
    contents = [json.loads(path.read_bytes()) for path in kept]
    errors = [json.loads(content["result"]) if "result" in content else content for content in contents]
    expected = {
        "__exc_type__": "dcn.errors.InvalidDatasetError",
        "message": "there is no folder /nowhere",
    }
    assert expected in errors, contents
    assert all(set(error) == {"__exc_type__", "message"} for error in errors)
