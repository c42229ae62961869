"""A client of a Prefect server to which ``prefect.yaml`` was deployed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import Flow, State
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import ArtifactSort, LogSort
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.pipeline import sections
from flows.settings import Settings
from tests.servers import ROOT, wait_until


@dataclass(frozen=True)
class Deployed:
    """A Prefect server with deployments.

    Attributes:
        environment: environment variables of a client of the server.
        home: folder of the files of the server and its workers.

    """

    environment: dict[str, str]
    home: Path

    def prefect(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Prefect's command line, as ``docs/guides/deployments.md`` does."""
        result = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        values: dict[Any, Any] = {PREFECT_API_URL: self.environment["PREFECT_API_URL"]}
        if "PREFECT_API_AUTH_STRING" in self.environment:
            values[PREFECT_API_AUTH_STRING] = self.environment["PREFECT_API_AUTH_STRING"]
        with temporary_settings(values), get_client(sync_client=True) as client:
            yield client

    def submit(self, name: str, settings: Settings) -> UUID:
        """Schedule a run of a deployment; returns the id of the flow run."""
        with self.client() as client:
            deployment = client.read_deployment_by_name(name)
            run = client.create_flow_run_from_deployment(deployment.id, parameters=as_parameters(settings))
        return run.id

    def read(self, run: UUID) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(run)

    def wait(self, run: UUID, *states: str, seconds: float = 400) -> FlowRun:
        """Wait until the flow run is in one of the states; returns it."""
        wait_until(
            lambda: self.read(run).state_name in states,
            seconds,
            f"{' or '.join(states)} of flow run {run}",
            interval=0.5,
        )
        return self.read(run)

    def happened(self, event: str, run: UUID) -> bool:
        """Whether the server has an event of this name that involves the flow run."""
        wanted = EventFilter(
            event=EventNameFilter(name=[event]),
            any_resource=EventAnyResourceFilter(id=[f"prefect.flow-run.{run}"]),
        )
        with self.client() as client:
            return bool(client.read_events(wanted, limit=1).events)

    def log(self, run: UUID) -> list[tuple[int, str]]:
        """Level and message of every line in the log of a flow run."""
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        with self.client() as client:
            found = client.read_logs(wanted, sort=LogSort.TIMESTAMP_ASC)
        return [(line.level, line.message) for line in found]

    def subflows(self, run: UUID) -> list[UUID]:
        """The flow runs that a flow run called itself."""
        wanted = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
        with self.client() as client:
            return [found.id for found in client.read_flow_runs(flow_run_filter=wanted)]

    def artifacts(self, run: UUID | None = None) -> dict[str, Artifact]:
        """The newest artifact of every key, of one flow run or of all."""
        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])) if run else None
        with self.client() as client:
            found = client.read_artifacts(artifact_filter=chosen, sort=ArtifactSort.UPDATED_DESC)
        return {str(artifact.key): artifact for artifact in reversed(found)}


def final_state(flow: Flow[..., Any], settings: Settings) -> State[Any]:
    """Run a flow in this process; returns the state in which it ended, also when it failed."""
    # Prefect's types ignore return_state in a flow whose parameters they do not know.
    return cast(State[Any], flow(**sections(settings), return_state=True))


def text_of(artifact: Artifact) -> str:
    """The content of an artifact: Markdown, the JSON of a table, or the address of a picture."""
    assert isinstance(artifact.data, str)
    return artifact.data


def percent_of(artifact: Artifact) -> float:
    """The content of a progress artifact, from 0 to 100."""
    return float(str(artifact.data))


def as_parameters(settings: Settings) -> dict[str, Any]:
    """These settings as the parameters of a deployment, in JSON."""
    return settings.model_dump(mode="json")


def as_options(settings: Settings) -> list[str]:
    """These settings as options of Prefect's command line."""
    return [
        part
        for name, value in as_parameters(settings).items()
        for part in ("-p", f"{name}={json.dumps(value)}")
    ]
