"""Where the files of a workspace are: a folder, or a prefix of an object store. One interface for both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from storage.errors import StorageError

SCHEMES = ("s3", "gs")


@dataclass(frozen=True)
class StoredFile:
    """A file that is there.

    Attributes:
        name: relative to its store, with slashes.
        size: bytes.
        modified: when it was written, with a time zone.

    """

    name: str
    size: int
    modified: datetime


class Store(Protocol):
    """Files by name. A name is relative, with slashes; a file is there whole or not at all."""

    @property
    def location(self) -> str:
        """For people: a path or a URL."""

    def folder(self, name: str) -> Store:
        """The files below a name, as a store of their own."""

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read.

        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it.

        Raises:
            StorageError: no room, no permission, no connection.

        """

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing is written, where it is.

        Raises:
            StorageError: as :meth:`write`.

        """

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def delete(self, name: str) -> None:
        """Delete a file; nothing where there is none."""

    def delete_all(self, prefix: str = "") -> None:
        """Delete all files below a folder, also those that were only being written, and the folder."""

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The folders directly below a folder ``prefix``, by their names relative to the store, in order.

        Some servers list a folder that is empty, too.
        """

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """The files below a folder ``prefix``, in any order; none that is only being written."""

    def path(self, name: str) -> Path | None:
        """Where the operating system finds a file or a folder; None in an object store."""

    def tensorstore(self, name: str) -> dict[str, Any]:
        """The ``kvstore`` by which tensorstore reads and writes below a name."""

    def free_bytes(self) -> int | None:
        """Room that is left; None where nobody can say."""


def check_location(location: str) -> str:
    """The location, where it is a path or the URL of a bucket.

    Raises:
        StorageError: it is neither.

    """
    scheme, separator, rest = location.partition("://")
    if separator and scheme not in SCHEMES:
        raise StorageError(f"{location} is no workspace: a path, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    if separator and not rest.strip("/"):
        raise StorageError(f"{location} names no bucket; a workspace there is {scheme}://BUCKET/PREFIX")
    if not location or "\0" in location:
        raise StorageError(f"{location!r} is no workspace: a path, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    return location


def check_name(name: str) -> str:
    """The name, where it stays inside of its store.

    Raises:
        ValueError: it does not.

    """
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{name!r} is not the name of a file of a workspace")
    return name


def json_bytes(value: Any) -> bytes:
    """JSON that a person can read. NaN is refused: JSON has none."""
    return json.dumps(value, indent=1, allow_nan=False).encode()
