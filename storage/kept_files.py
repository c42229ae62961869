"""What a stage keeps beside its arrays: a file, and, written after it, the digest of its content."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from storage.errors import CheckpointDamagedError
from storage.key import digest
from storage.stores.store import Store

# A name in a checkpoint is one component of a path, and never one that leads up or away.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\.[a-z0-9]{1,16}")
_READ_AT_ONCE = 16


class KeptFiles:
    """The folders ``files`` and ``digests`` of a checkpoint. A file is there when its digest is.

    Args:
        store: the folder of the checkpoint.

    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, name: str, content: bytes) -> None:
        """Write a file, and then its digest; while one is being replaced, the digests of both stand.

        Raises:
            StorageError: no room, no permission, no connection.
            ValueError: no stage writes a file with such a name.

        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a file of a checkpoint")
        before, after = self._noted(name), (digest(content),)
        if before and before != after:
            self._note(name, (*before, *after))
        self._store.write(f"files/{name}", content)
        self._note(name, after)

    def read(self, name: str, finished: str | None) -> bytes:
        """The content of a file.

        Args:
            name: of the file.
            finished: its digest where the manifest has one.

        Raises:
            CheckpointDamagedError: it is not there, or has none of the digests that are known of it.

        """
        try:
            content = self._store.read(f"files/{name}")
        except FileNotFoundError as error:
            raise CheckpointDamagedError(f"{self.location(name)} is missing") from error
        known, actual = [*self._noted(name), *([finished] if finished else [])], digest(content)
        if known and actual not in known:
            raise CheckpointDamagedError(
                f"{self.location(name)} has digest {actual}, not {known[-1]}: it was changed"
            )
        return content

    def has(self, name: str) -> bool:
        """Whether there is such a file, with its digest."""
        return self._store.exists(f"digests/{name}")

    def names(self) -> set[str]:
        """The files that have a digest."""
        return {file.name.removeprefix("digests/") for file in self._store.list("digests")}

    def delete(self, name: str) -> None:
        """Delete a file; nothing where there is none."""
        self._store.delete(f"digests/{name}")
        self._store.delete(f"files/{name}")

    def digests(self) -> dict[str, str]:
        """Digest of every file, in the order of the names."""
        names = sorted(self.names())
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            found = pool.map(self._noted, names)
            return {name: noted[-1] for name, noted in zip(names, found, strict=True) if noted}

    def location(self, name: str) -> str:
        """Where a file is, for people: a path or a URL."""
        return f"{self._store.location}/files/{name}"

    def _noted(self, name: str) -> tuple[str, ...]:
        try:
            return tuple(self._store.read(f"digests/{name}").decode(errors="replace").split())
        except FileNotFoundError:
            return ()

    def _note(self, name: str, digests: tuple[str, ...]) -> None:
        self._store.write(f"digests/{name}", "\n".join(digests).encode())
