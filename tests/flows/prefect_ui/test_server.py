"""Which Prefect server the user names, and what is said if it cannot be used."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings

from flows.errors import PrefectError
from flows.prefect_ui.server import connect, find_server
from tests.servers import free_port

ADDRESS = "http://prefect.example.org:4200/api"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of Prefect, and no server in the environment."""
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # connect changes them
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


def profiles(active: str) -> str:
    """Profiles as ``prefect profile create`` and ``prefect config set`` write them."""
    return f'active = "{active}"\n\n[profiles.local]\n\n[profiles.team]\nPREFECT_API_URL = "{ADDRESS}"\n'


def test_without_profiles_there_is_none() -> None:
    assert find_server(pytest.fail) is None


@pytest.mark.parametrize(("active", "expected"), [("team", ADDRESS), ("local", None), ("gone", None)])
def test_the_active_profile_names_it(home: Path, active: str, expected: str | None) -> None:
    (home / "profiles.toml").write_text(profiles(active))
    assert find_server(pytest.fail) == expected


def test_variables_come_first(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (home / "profiles.toml").write_text(profiles("local"))
    monkeypatch.setenv("PREFECT_PROFILE", "team")
    assert find_server(pytest.fail) == ADDRESS
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert find_server(pytest.fail) == "http://127.0.0.1:4200/api"
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert find_server(pytest.fail) is None


@pytest.mark.parametrize(
    "content", [b"active = ", b'active = "team"\nprofiles = 3', b"\xff\xfe", b"[profiles]\nteam = 1"]
)
def test_profiles_that_cannot_be_read_are_a_warning(
    home: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_PROFILE", "team")
    (home / "profiles.toml").write_bytes(content)
    warnings: list[str] = []
    assert find_server(warnings.append) is None
    (warning,) = warnings
    assert warning.startswith(f"Prefect's profiles, {home / 'profiles.toml'}, cannot be read (")


@contextmanager
def another_server() -> Iterator[str]:
    """A web server on loopback that answers every request with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<h1>It works!</h1>")

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()


def message(address: str) -> str:
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(PrefectError) as caught:
        connect(address)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_port_where_nobody_listens_is_named() -> None:
    said = message(f"http://user:secret@127.0.0.1:{free_port()}/api")
    assert said.startswith("no Prefect server answers at http://127.0.0.1:")
    assert said.endswith(
        "Start it, or run without a server: unset PREFECT_API_URL, or use another profile of Prefect"
    )
    assert "secret" not in said


def test_a_server_of_another_kind_is_named() -> None:
    with another_server() as address:
        assert message(address).startswith(f"no Prefect server answers at {address} (")


@pytest.mark.parametrize("address", ["garbage", "ftp://127.0.0.1/api", "http://no-such-host.invalid/api"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    assert message(address).startswith(f"no Prefect server answers at {address} (")


def test_an_address_that_cannot_be_read_is_named() -> None:
    with pytest.raises(PrefectError, match=r"^http://\[bad/api is no address of a Prefect server \("):
        connect("http://[bad/api")


def test_a_missing_certificate_is_named() -> None:
    with temporary_settings({PREFECT_API_SSL_CERT_FILE: "/nowhere/ca.pem"}):
        said = message("http://127.0.0.1:9/api")
    assert said.startswith("Prefect cannot be set up for the server http://127.0.0.1:9/api: ")


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_a_server_on_loopback_is_not_asked_through_a_proxy(
    proxy: str, prefect_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    address = prefect_server["PREFECT_API_URL"]
    with temporary_settings({PREFECT_API_URL: address}):
        connect(address)


@pytest.mark.slow
def test_no_line_of_prefects_log_reaches_the_terminal() -> None:
    """Its services log under their own names, such as ``EventsWorker - Still processing items``."""
    code = (
        "from flows.prefect_ui.settings import set_command_line_defaults; set_command_line_defaults();"
        "import logging; from prefect import flow;"
        "names = ['EventsWorker', 'APILogWorker', 'prefect', 'prefect.flow_runs', 'prefect._internal'];"
        "[logging.getLogger(name).error('Still processing items') for name in names];"
        "print('done')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.stdout == "done\n"
    assert result.stderr == ""
