"""What a machine may have set up: proxies, files of Prefect, folders that are missing or read-only, data that look
like code. A run without a Prefect server needs none of it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from tests.flows.helpers import command

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NOBODY_WRITES = "/proc"
# Names of modules that Python, PyTorch or Dask import late.
MODULES = (
    "select",
    "copy",
    "token",
    "random",
    "queue",
    "socket",
    "json",
    "numpy",
    "torch",
    "dask",
    "prefect",
)


def damaged_home(folder: Path) -> dict[str, str]:
    """A home of Prefect with a question mark in its path, a damaged data base and broken profiles."""
    home = folder / "what?#%20 here"
    home.mkdir()
    (home / "prefect.db").write_bytes(b"SQLite format 3\x00" + b"damaged" * 1000)
    (home / "profiles.toml").write_text('active = "mine"\n[profiles.mine\nPREFECT_API_URL = ')
    return {"PREFECT_HOME": str(home)}


def incomplete_profiles(folder: Path) -> dict[str, str]:
    (folder / "profiles.toml").write_text('active = "gone"\nprofiles = 3\n')
    return {"PREFECT_PROFILES_PATH": str(folder / "profiles.toml")}


def settings_in_the_current_folder(folder: Path) -> dict[str, str]:
    """Files of Prefect beside the data: one names a server that would learn of the run, and two are broken."""
    Path("prefect.toml").write_text('[api]\nurl = "http://192.0.2.1/api"\n')
    Path("pyproject.toml").write_text("[tool.prefect\n")
    Path(".env").write_text("PREFECT_API_URL=http://192.0.2.1/api\n")
    return {}


# Name of the case, and its variables, or what makes them.
CASES: dict[str, dict[str, str] | Callable[[Path], dict[str, str]]] = {
    "a proxy": dict.fromkeys(PROXIES, "http://127.0.0.1:9"),
    "a SOCKS proxy": dict.fromkeys(PROXIES, "socks5://127.0.0.1:9"),
    "a proxy without a scheme": dict.fromkeys(PROXIES, "::"),
    "hosts without a proxy": {"no_proxy": "[::1],<local>,10.0.0.0/8", "NO_PROXY": "[::1],host:port"},
    "no certificates": {"SSL_CERT_FILE": "/nowhere/ca.pem", "SSL_CERT_DIR": "/nowhere"},
    "no temporary server": {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"},
    "a level that does not exist": {"PREFECT_LOGGING_LEVEL": "garbage"},
    "a setting that cannot be read": {"PREFECT_API_REQUEST_TIMEOUT": "soon", "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "?"},
    "a profile that does not exist": {"PREFECT_PROFILE": "gone"},
    "an empty address": {"PREFECT_API_URL": ""},
    "a home that is a file": {"PREFECT_HOME": "/etc/passwd"},
    "a home that nobody may write": {"PREFECT_HOME": NOBODY_WRITES},
    "a data base that is nowhere": {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql://nowhere/none"},
    "a damaged home": damaged_home,
    "incomplete profiles": incomplete_profiles,
    "files in the current folder": settings_in_the_current_folder,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_run_needs_nothing_of_prefect_and_of_the_network(
    case: str, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In this process, where a run with a temporary server would fail in the same way."""
    chosen = CASES[case]
    for name, value in (chosen(tmp_path) if callable(chosen) else chosen).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["index", str(config)])
    assert result.exit_code == 0, result.output
    assert "reused" in result.output


@pytest.mark.usefixtures("config")
def test_profiles_that_cannot_be_read_are_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody whose profile named a server must learn that this run is not recorded there."""
    monkeypatch.setenv("PREFECT_HOME", damaged_home(tmp_path)["PREFECT_HOME"])
    result = CliRunner().invoke(app, ["index", str(config)])
    said = " ".join(result.stderr.split())
    assert f"warning Prefect's profiles, {tmp_path}/what?#%20 here/profiles.toml, cannot be read (" in said
    assert "so this runs without a Prefect server" in said


def run_tiny(config: Path, prefix: str = "", **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run ``dcn index`` through a shell, in a process of its own.

    Args:
        config: the configuration.
        prefix: shell commands before it.
        environment: variables; None removes one.

    """
    line = shlex.join(command("index", config.absolute()))
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    return subprocess.run(
        f"{prefix} {line}", shell=True, env=variables, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_a_machine_where_nothing_may_be_written_but_the_workspace(config: Path) -> None:
    result = run_tiny(
        config,
        "umask 077; ulimit -n 256;",
        **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), NOBODY_WRITES),
        **dict.fromkeys(PROXIES, "socks5://127.0.0.1:9"),
        LC_ALL="C", LANG=None, SSL_CERT_FILE="/nowhere", PREFECT_HOME=None, PREFECT_LOGGING_LEVEL="garbage",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "reused" in result.stdout


@pytest.mark.slow
def test_a_home_that_is_missing(config: Path) -> None:
    result = run_tiny(
        config, HOME="/nowhere/at all/\N{LATIN SMALL LETTER U WITH DIAERESIS}", TMPDIR="/nowhere"
    )
    assert result.returncode == 0, result.stderr
    assert "reused" in result.stdout


def test_a_folder_that_was_deleted_is_a_sentence(config: Path, tmp_path: Path) -> None:
    path = str(config.absolute())
    (tmp_path / "deleted").mkdir()
    os.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    for command_name in ("index", "status"):
        result = CliRunner().invoke(app, [command_name, path])
        assert result.exit_code == 1
        said = " ".join(result.stderr.split())
        assert said == "error the current folder does not exist any more; change to another one"


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-", "| head -c 1"])
def test_streams_that_are_closed(config: Path, closed: str) -> None:
    line = f"set -o pipefail; {shlex.join(command('status', str(config)))} {closed}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert result.returncode == (0 if "head" not in closed else result.returncode)


@pytest.mark.slow
@pytest.mark.parametrize("program", ["dcn", "python -m flows"])
def test_no_file_among_the_data_is_executed(program: str, config: Path, tmp_path: Path) -> None:
    """Neither by the command, nor by the workers of Dask that it starts."""
    for name in MODULES:
        Path(f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write(__file__ + '\\n')\n")
    started = command() if program == "dcn" else [sys.executable, "-m", "flows"]
    dask = ["--set", "runner.kind=dask", "--set", "runner.workers=1"]
    result = subprocess.run(
        [*started, "extract", str(config), "--workspace", str(tmp_path / "new"), *dask],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()
    assert result.returncode == 0, result.stderr
