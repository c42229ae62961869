"""A Prefect server with a password: clients that have it work as usual, others get advice."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.sync.client import connect

from flows.execution.plan import find_job
from tests.deployments.deployed import Deployed
from tests.flows.helpers import MakeSettings, command
from tests.servers import serve_prefect, work

PASSWORD = "admin:correct horse"
ORIGIN = "http://127.0.0.1:4200"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    home = tmp_path_factory.mktemp("authenticated")
    variables = {
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "PREFECT_API_AUTH_STRING": PASSWORD,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ORIGIN,
    }
    with serve_prefect(home, **variables) as environment:
        yield Deployed(environment, home)


def status_of(server: Deployed, path: str, password: str | None) -> int:
    """HTTP status of a request."""
    request = urllib.request.Request(server.environment["PREFECT_API_URL"] + path)
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(password.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out"])
@pytest.mark.parametrize("token", [None, "admin:wrong"])
def test_web_sockets_need_the_password_too(server: Deployed, path: str, token: str | None) -> None:
    address = server.environment["PREFECT_API_URL"].replace("http", "ws", 1) + path
    with connect(address, subprotocols=[Subprotocol("prefect")]) as socket:
        socket.send(json.dumps({"type": "auth", "token": token}))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == CloseCode.POLICY_VIOLATION


@pytest.mark.parametrize(("origin", "allowed"), [(ORIGIN, ORIGIN), ("http://elsewhere.example", None)])
def test_browsers_accept_requests_from_the_configured_origin_only(
    server: Deployed, origin: str, allowed: str | None
) -> None:
    request = urllib.request.Request(
        server.environment["PREFECT_API_URL"] + "/health", headers={"Origin": origin}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers.get("Access-Control-Allow-Origin") == allowed


def without_password(server: Deployed, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in server.environment.items() if "AUTH_STRING" not in name}
    return {**kept, **variables}


@pytest.mark.parametrize("path", ["/admin/version", "/admin/settings", "/openapi.json", "/docs"])
def test_only_the_right_password_is_accepted(server: Deployed, path: str) -> None:
    assert status_of(server, path, None) == 401
    assert status_of(server, path, "admin:wrong") == 401
    assert status_of(server, path, PASSWORD) != 401
    assert status_of(server, "/health", None) == 200


@pytest.mark.parametrize("variables", [{}, {"PREFECT_API_AUTH_STRING": "admin:wrong"}])
def test_the_command_line_says_that_the_password_is_missing(
    server: Deployed, tiny_settings: MakeSettings, tmp_path: Path, variables: dict[str, str]
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_settings().model_dump(mode="json")))
    refused = subprocess.run(
        command("index", path),
        env=without_password(server, **variables), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "wants another password" in refused.stderr
    assert "PREFECT_API_AUTH_STRING" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout
    assert PASSWORD not in refused.stderr + refused.stdout


def test_command_line_deployments_and_worker_work_with_the_password(
    server: Deployed, tiny_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = tiny_settings()
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    here = subprocess.run(
        command("index", path), env=server.environment, capture_output=True, text=True, timeout=300
    )
    assert here.returncode == 0, here.stderr
    server.prefect("work-pool", "create", "dcn", "--type", "process")
    server.prefect("deploy", "--all")
    with work(server.environment, server.home / "worker.log"):
        run = server.wait(server.submit("extract/demo-extract", settings), "Completed", "Failed", "Crashed")
    assert run.state_name == "Completed", run.state
    assert find_job(settings).checkpoint("extract").require().complete
    assert {"extract", "extract-progress"} <= set(server.artifacts(run.id))
