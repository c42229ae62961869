"""A Prefect server to which ``prefect.yaml`` was deployed, as the tests talk to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import ArtifactSort
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.settings import Settings
from tests.servers import ROOT, wait_until


@dataclass(frozen=True)
class Deployed:
    """``environment`` reaches the server; the files of the server and of workers are in ``home``."""

    environment: dict[str, str]
    home: Path

    def prefect(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Prefect's command line, as ``docs/guides/deployments.md`` uses it."""
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
        """Whether the server has an event of this name in which the flow run has a part."""
        wanted = EventFilter(
            event=EventNameFilter(name=[event]),
            any_resource=EventAnyResourceFilter(id=[f"prefect.flow-run.{run}"]),
        )
        with self.client() as client:
            return bool(client.read_events(wanted, limit=1).events)

    def artifacts(self, run: UUID | None = None) -> dict[str, Artifact]:
        """The newest artifact of every key, of one flow run or of all."""
        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])) if run else None
        with self.client() as client:
            found = client.read_artifacts(artifact_filter=chosen, sort=ArtifactSort.UPDATED_DESC)
        return {str(artifact.key): artifact for artifact in reversed(found)}


def as_parameters(settings: Settings) -> dict[str, Any]:
    """The parameters of a deployment that say these settings, in JSON."""
    return settings.model_dump(mode="json")


def as_options(settings: Settings) -> list[str]:
    """Likewise, for the command line."""
    return [
        part
        for name, value in as_parameters(settings).items()
        for part in ("-p", f"{name}={json.dumps(value)}")
    ]
