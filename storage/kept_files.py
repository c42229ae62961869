"""Files that a stage keeps beside its arrays, each with a digest that is written after the file."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from storage.errors import CheckpointDamagedError
from storage.key import digest
from storage.stores.store import Store

# The name of a file is one component of a path, which cannot lead out of the checkpoint.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\.[a-z0-9]{1,16}")
_READ_AT_ONCE = 16


class KeptFiles:
    """The folders ``files`` and ``digests`` of a checkpoint. A file exists if its digest exists.

    Args:
        store: folder of the checkpoint.

    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, name: str, content: bytes) -> None:
        """Write a file, and then its digest. While a file is being replaced, both digests are valid.

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
        """Read a file.

        Args:
            name: name of the file.
            finished: digest of the file in the manifest, or None.

        Raises:
            CheckpointDamagedError: the file is missing, or has none of its known digests.

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
        """Whether there is a file of this name, with its digest."""
        return self._store.exists(f"digests/{name}")

    def names(self) -> set[str]:
        """Names of the files that have a digest."""
        return {file.name.removeprefix("digests/") for file in self._store.list("digests")}

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        self._store.delete(f"digests/{name}")
        self._store.delete(f"files/{name}")

    def digests(self) -> dict[str, str]:
        """Collect the digest of every file, in the order of the names."""
        names = sorted(self.names())
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            found = pool.map(self._noted, names)
            return {name: noted[-1] for name, noted in zip(names, found, strict=True) if noted}

    def location(self, name: str) -> str:
        """Path or URL of a file, for people."""
        return f"{self._store.location}/files/{name}"

    def _noted(self, name: str) -> tuple[str, ...]:
        try:
            return tuple(self._store.read(f"digests/{name}").decode(errors="replace").split())
        except FileNotFoundError:
            return ()

    def _note(self, name: str, digests: tuple[str, ...]) -> None:
        self._store.write(f"digests/{name}", "\n".join(digests).encode())
