"""Prefect servers with the deployments of ``prefect.yaml``, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.deployments.deployed import Deployed
from tests.servers import serve_postgresql, serve_prefect


@pytest.fixture(scope="session", params=[pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"])
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A server with the work pool, the automation and the deployments of ``prefect.yaml``, but no worker."""
    with ExitStack() as stack:
        variables = {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2"}
        if request.param == "postgresql":
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = stack.enter_context(serve_postgresql())
        home = tmp_path_factory.mktemp(f"deployed-{request.param}")
        server = Deployed(stack.enter_context(serve_prefect(home, **variables)), home)
        server.prefect("work-pool", "create", "dcn", "--type", "process")
        server.prefect("deploy", "--all")
        server.prefect("automation", "create", "--from-file", "automations.yaml")
        yield server
