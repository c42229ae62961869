"""The Prefect server that the user names, if any, and what the command line needs to reach it.

Nothing here imports Prefect before a server is known. So without one, none of its settings, profiles and
folders can keep a run from starting.
"""

from __future__ import annotations

import io
import os
import tomllib
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from flows.addresses import is_loopback
from flows.errors import PrefectError
from flows.prefect_ui.settings import set_command_line_defaults

_WITHOUT = "run without a server: unset PREFECT_API_URL, or use another profile of Prefect"
_PUT_RIGHT = f"Put that right, or {_WITHOUT}"


def find_server(warn: Callable[[str], None]) -> str | None:
    """Find the address of the Prefect server of the user: in ``PREFECT_API_URL``, or in the active profile.

    Other files that Prefect reads, such as a ``prefect.toml`` in the current folder, are not asked: they may
    have come with the data.

    Args:
        warn: receives a warning if the profiles cannot be read.

    Returns:
        None if the user names no server.

    """
    if "PREFECT_API_URL" in os.environ:
        return os.environ["PREFECT_API_URL"] or None
    home = os.environ.get("PREFECT_HOME") or os.path.expanduser("~/.prefect")  # noqa: PTH111 - never fails
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or Path(home, "profiles.toml"))
    try:
        found = tomllib.loads(path.read_text())
        active = os.environ.get("PREFECT_PROFILE") or found.get("active")
        profile = found.get("profiles", {}).get(active, {})
        return str(profile["PREFECT_API_URL"]) if profile.get("PREFECT_API_URL") else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        warn(f"Prefect's profiles, {path}, cannot be read ({error}), so this runs without a Prefect server")
        return None


def connect(address: str) -> None:
    """Import Prefect, and check that the server answers.

    Raises:
        PrefectError: Prefect refuses its settings, or no Prefect server answers.

    """
    set_command_line_defaults()
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise PrefectError(f"{address} is no address of a Prefect server ({error}). {_PUT_RIGHT}") from error
    if is_loopback(parts.hostname or ""):
        _bypass_proxies(str(parts.hostname))
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a password
    try:
        with redirect_stderr(io.StringIO()):  # where Prefect writes the same problem in several lines
            from prefect.client.orchestration import get_client

            client = get_client(sync_client=True)
    except Exception as error:  # its settings, files and certificates, and those of the libraries below it
        raise PrefectError(
            f"Prefect cannot be set up for the server {shown}: {_one_line(error)}. {_PUT_RIGHT}"
        ) from error
    try:
        with client:
            client.raise_for_api_version_mismatch_once()
    except RuntimeError as error:
        reason = _one_line(error.__cause__ or error)
        raise PrefectError(
            f"no Prefect server answers at {shown} ({reason}). Start it, or {_WITHOUT}"
        ) from error


def _one_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):  # the first problem may cause others
        problem = error.errors()[0]
        return f"{error.title}, {problem['loc'][-1]}: {problem['msg']}, not {problem['input']}"
    return " ".join(str(error).split()) or type(error).__name__


def _bypass_proxies(host: str) -> None:
    """Exempt a host from the proxies of the environment. Other hosts keep theirs."""
    for name in ("no_proxy", "NO_PROXY"):
        exempt = os.environ.get(name)
        os.environ[name] = f"{exempt},{host}" if exempt else host
