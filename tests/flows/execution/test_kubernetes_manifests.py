"""What the configuration `kubernetes` would submit, against the operator's own schema. No Kubernetes runs here."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from flows.execution.clusters import cluster_class
from flows.settings.loading import load_settings

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


class Recorder(BaseHTTPRequestHandler):
    """Keeps what is submitted, finds nothing, and creates nothing."""

    submitted: list[Any]

    def do_GET(self) -> None:
        if self.path.startswith("/version"):
            self._answer(200, {"major": "1", "minor": "30", "gitVersion": "v1.30.0"})
        else:
            self._answer(404)

    def do_PATCH(self) -> None:
        self._answer(404)

    def do_POST(self) -> None:
        self.submitted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(403)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, code: int, content: dict[str, str] | None = None) -> None:
        status = {"kind": "Status", "status": "Failure", "message": "refused"}
        body = json.dumps(content or status).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The manifests that clients of Kubernetes submit in this test."""
    manifests: list[Any] = []
    server = HTTPServer(("127.0.0.1", 0), type("Here", (Recorder,), {"submitted": manifests}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "default"}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield manifests
    server.shutdown()


def schema(kind: str) -> dict[str, Any]:
    """The schema of the operator's resource, as its chart installs it; every field that it does not know is wrong."""
    package = importlib.util.find_spec("dask_kubernetes")
    assert package is not None
    assert package.origin is not None
    chart = Path(package.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    resource = yaml.safe_load((chart / f"{kind}.yaml").read_text())
    (version,) = resource["spec"]["versions"]
    found: dict[str, Any] = closed(version["schema"]["openAPIV3Schema"])
    return found


def closed(node: Any) -> Any:
    """Kubernetes drops fields that a schema does not name, so that they would have no effect."""
    if isinstance(node, list):
        return [closed(part) for part in node]
    if not isinstance(node, dict):
        return node
    result = {name: closed(part) for name, part in node.items()}
    if isinstance(node.get("properties"), dict) and "additionalProperties" not in node:
        known = {"apiVersion", "kind", "metadata"} if "spec" in node["properties"] else set()
        result["properties"] = {**{name: {} for name in known}, **result["properties"]}
        result["additionalProperties"] = bool(node.get("x-kubernetes-preserve-unknown-fields", False))
    return result


def test_the_cluster_that_would_be_submitted_is_valid(submitted: list[Any]) -> None:
    """In a process of its own, because a cluster that cannot start leaves a thread that goes on asking."""
    code = (
        "from flows.execution.clusters import open_client\n"
        "from flows.settings.loading import load_settings\n"
        "with open_client(load_settings('kubernetes').runner, print): pass"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert "runner.cluster dask_kubernetes.operator.KubeCluster cannot be started: refused" in process.stderr
    manifest = submitted[0]  # the client tries again
    assert manifest["kind"] == "DaskCluster"
    assert manifest["spec"]["worker"]["spec"]["containers"][0]["args"][-2:] == [
        "--dashboard-address",
        "127.0.0.1:0",
    ]
    errors = [
        f"{error.json_path}: {error.message[:200]}"
        for error in Draft202012Validator(schema("daskcluster")).iter_errors(manifest)
    ]
    assert not errors


def test_a_wrong_field_would_be_found(submitted: list[Any]) -> None:
    arguments = load_settings("kubernetes").runner.cluster_arguments
    manifest = arguments["custom_cluster_spec"]
    manifest["spec"]["worker"]["spec"]["containers"][0]["argz"] = []
    assert list(Draft202012Validator(schema("daskcluster")).iter_errors(manifest))


def test_the_autoscaler_that_would_be_submitted_is_valid(submitted: list[Any]) -> None:
    runner = load_settings("kubernetes").runner
    assert runner.adaptive is not None
    made: Any = cluster_class(str(runner.cluster))
    cluster = SimpleNamespace(name="dcn", namespace="default")
    with pytest.raises(Exception, match="refused|403"):
        asyncio.run(made._adapt(cluster, runner.adaptive.minimum, runner.adaptive.maximum))
    manifest = submitted[0]
    assert manifest["spec"] == {"cluster": "dcn", "minimum": 1, "maximum": 20}
    assert not list(Draft202012Validator(schema("daskautoscaler")).iter_errors(manifest))
