"""TLS certificates of a Dask cluster: those of the settings, or files that live as long as one cluster."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from distributed import Security

from flows.errors import ClusterError
from flows.settings import TLSSettings

# What a terminal that closes and a batch system send before SIGKILL. Python itself handles Ctrl-C.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def tls_security(settings: TLSSettings) -> Security:
    """Allow encrypted connections only, with one certificate for all roles.

    Raises:
        ClusterError: a file does not exist.

    """
    for name, path in (("ca_file", settings.ca_file), ("cert", settings.cert), ("key", settings.key)):
        if not path.is_file():
            raise ClusterError(f"runner.tls.{name}: there is no file {path}")
    roles = {
        f"tls_{role}_{name}": str(path.absolute())
        for role in ("client", "scheduler", "worker")
        for name, path in (("cert", settings.cert), ("key", settings.key))
    }
    return Security(require_encryption=True, tls_ca_file=str(settings.ca_file.absolute()), **roles)


@contextmanager
def temporary_certificate(folder: Path) -> Iterator[Security]:
    """Make a certificate for one cluster, in a folder that no other user can enter. Delete it at the end.

    The end is a return, an error, Ctrl-C, SIGTERM or SIGHUP. SIGKILL leaves the folder ``.dcn-tls-*`` behind.
    Its key opens nothing then, because the scheduler that accepts it ended with the process.

    Args:
        folder: the nodes see it at the same path.

    Raises:
        ClusterError: the folder cannot be written, or the package that makes certificates is missing.

    """
    try:
        made = Security.temporary()
    except ImportError as error:
        raise ClusterError(
            "runner.cluster_arguments.security makes a certificate with cryptography, which is not "
            "installed: python -m pip install 'dynamic-clustering-network[slurm]'"
        ) from error
    contents = {"ca_file": made.tls_ca_file, "cert": made.tls_worker_cert, "key": made.tls_worker_key}
    with _ended_by_exceptions():
        try:
            temporary = TemporaryDirectory(prefix=".dcn-tls-", dir=folder)
        except OSError as error:
            raise ClusterError(
                f"runner.cluster_arguments.shared_temp_directory {folder} cannot be written: {error.strerror}"
            ) from error
        with temporary as place:
            paths = {name: Path(place, f"{name}.pem") for name in contents}
            for name, path in paths.items():
                _write_private(path, str(contents[name]))
            yield tls_security(TLSSettings(**paths))


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read from its first instant, whatever the umask is."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


@contextmanager
def _ended_by_exceptions() -> Iterator[None]:
    """Turn signals that would end this process at once into SystemExit. Handlers of others stay."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    changed = [name for name in _ENDING_SIGNALS if signal.getsignal(name) is signal.SIG_DFL]
    for name in changed:
        signal.signal(name, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for name in changed:
            signal.signal(name, signal.SIG_DFL)
