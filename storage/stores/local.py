"""A folder of a file system, local or shared."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.errors import FileSystemError
from storage.stores.files import PARTIAL_SUFFIX, partial_file, write_atomically
from storage.stores.store import StoredFile, check_name

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Suffixes of files that are being written, by this module and by tensorstore.
_UNFINISHED = (PARTIAL_SUFFIX, ".__lock")


class LocalStore:
    """The files in one folder, which the first file creates.

    Args:
        root: path of the folder.

    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def location(self) -> str:
        return str(self._root)

    def folder(self, name: str) -> LocalStore:
        return LocalStore(self.path(name))

    def read(self, name: str) -> bytes:
        path = self.path(name)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"there is no {path}") from error
        except OSError as error:
            raise _failure(path, "read", error) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a temporary file and rename it, so that a reader sees the old content or the new one."""
        path = self.path(name)
        try:
            write_atomically(path, content)
        except OSError as error:
            raise _failure(path, "written", error) from error

    def create(self, name: str, content: bytes) -> bool:
        path = self.path(name)
        try:
            with partial_file(path, content) as partial:
                try:
                    os.link(partial, path)
                except FileExistsError:
                    return False
                except OSError as error:
                    # Some file systems have no hard links. There, another process may create the file between
                    # the check and the renaming.
                    if error.errno not in _NO_LINKS:
                        raise
                    if path.exists():
                        return False
                    partial.replace(path)
        except OSError as error:
            raise _failure(path, "written", error) from error
        return True

    def exists(self, name: str) -> bool:
        return self.path(name).is_file()

    def delete(self, name: str) -> None:
        path = self.path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _failure(path, "deleted", error) from error

    def delete_all(self, prefix: str = "") -> None:
        path = self.path(prefix) if prefix else self._root
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _failure(path, "deleted", error) from error

    def folders(self, prefix: str = "") -> Iterator[str]:
        start = self.path(prefix) if prefix else self._root
        for path in sorted(start.glob("*/")):
            yield path.relative_to(self._root).as_posix()

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        start = self.path(prefix) if prefix else self._root
        for folder, _, names in os.walk(start):
            for name in names:
                path = Path(folder, name)
                if name.endswith(_UNFINISHED):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:  # another process replaced or deleted it
                    continue
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                yield StoredFile(path.relative_to(self._root).as_posix(), status.st_size, modified)

    def tensorstore(self, name: str) -> dict[str, Any]:
        return {"driver": "file", "path": f"{self.path(name).absolute()}/"}

    def make(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failure(self._root, "made", error) from error

    def free_bytes(self) -> int | None:
        self.make()
        try:
            return shutil.disk_usage(self._root).free
        except OSError as error:
            raise _failure(self._root, "read", error) from error

    def path(self, name: str) -> Path:
        return self._root / check_name(name)


def _failure(path: Path, done: str, error: OSError) -> FileSystemError:
    return FileSystemError(f"{path} cannot be {done}: {error.strerror or error}", error.errno)
