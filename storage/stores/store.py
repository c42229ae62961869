"""The interface of a store: the files of a workspace by name, in a folder or in an object store."""

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
    """An existing file.

    Attributes:
        name: name relative to the store, with slashes.
        size: size in bytes.
        modified: time of the last write, with a time zone.

    """

    name: str
    size: int
    modified: datetime


class Store(Protocol):
    """Files by name. A name is relative, with slashes. A file exists as a whole or not at all."""

    @property
    def location(self) -> str:
        """Path or URL of the store, for people."""

    def folder(self, name: str) -> Store:
        """Return the store of the files in a folder."""

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            FileNotFoundError: there is no such file.
            StorageError: it cannot be read.

        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it.

        Raises:
            StorageError: no room, no permission, no connection.

        """

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that does not exist yet. If it exists, write nothing and return False.

        Raises:
            StorageError: no room, no permission, no connection.

        """

    def exists(self, name: str) -> bool:
        """Whether a file exists."""

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""

    def delete_all(self, prefix: str = "") -> None:
        """Delete a folder with all its files, unfinished ones included."""

    def folders(self, prefix: str = "") -> Iterator[str]:
        """List the names of the folders directly in the folder ``prefix``, relative to the store, in order.

        Some servers list empty folders, too.
        """

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """List the files in the folder ``prefix`` and its subfolders, in any order; no unfinished ones."""

    def path(self, name: str) -> Path | None:
        """Path of a file or folder for the operating system; None in an object store."""

    def tensorstore(self, name: str) -> dict[str, Any]:
        """Describe a folder to tensorstore, as its ``kvstore``."""

    def make(self) -> None:
        """Make the folder of the store if it is missing; an object store has none."""

    def free_bytes(self) -> int | None:
        """Free space in bytes; None if it is unknown."""


def check_location(location: str) -> str:
    """Check that a location is a path or the URL of a bucket, and return it.

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
    """Check that a name cannot lead out of its store, and return it.

    Raises:
        ValueError: it can.

    """
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{name!r} is not the name of a file of a workspace")
    return name


def json_bytes(value: Any) -> bytes:
    """Encode a value as JSON that a person can read. Raises ValueError for NaN, which JSON does not have."""
    return json.dumps(value, indent=1, allow_nan=False).encode()
