"""Certificates, other addresses, and questions to listening sockets as somebody on the network would ask them."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil
import pytest
from distributed import Security

# The first byte with which TLS refuses what is not TLS.
_TLS_ALERT = b"\x15"


def other_address() -> tuple[str, str]:
    """An interface of this machine beside loopback, and its address."""
    for interface, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family == socket.AF_INET and not address.address.startswith("127."):
                return interface, address.address
    pytest.skip("this machine has no network beside loopback")


def plain_answers(
    processes: Iterable[psutil.Process], address: str, without: Collection[object] = ()
) -> dict[int, str]:
    """Ask every listening socket of some processes for Dask's page of workers, in plain HTTP.

    Args:
        processes: the processes.
        address: address of this machine that is not loopback.
        without: local addresses of sockets that belong to others.

    Returns:
        For each port ``refused``, ``TLS`` if the socket accepts nothing but TLS, or
        the first line of the answer.

    """
    found = {}
    for process in processes:
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr not in without:
                found[connection.laddr.port] = _ask(address, connection.laddr.port)
    return found


def _ask(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.sendall(b"GET /info/main/workers.html HTTP/1.0\r\n\r\n")
            answer = connection.recv(4096)
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, TimeoutError):
        return "TLS"
    if not answer or answer.startswith(_TLS_ALERT):
        return "TLS"
    return answer.partition(b"\r\n")[0].decode(errors="replace")


def write_certificate(folder: Path) -> dict[str, str]:
    """A self-signed certificate, which is its own authority."""
    made = Security.temporary()
    folder.mkdir()
    contents = {"ca_file": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, text in contents.items():
        (folder / f"{name}.pem").write_text(text)
    return {name: str(folder / f"{name}.pem") for name in contents}
