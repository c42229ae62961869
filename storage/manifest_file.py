"""The file ``manifest.json`` of a checkpoint: read, checked, written, and remembered once it is complete."""

from __future__ import annotations

import re

import numpy as np

from storage.errors import CheckpointDamagedError, StorageError
from storage.manifest import Manifest, manifest_bytes, parse_manifest
from storage.stores.store import Store

_FILE = "manifest.json"
# The name of an array is one component of a path, which cannot lead out of the checkpoint.
_ARRAY = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Kinds of dtypes: booleans and numbers. An array never holds objects.
_KINDS = "biuf"


class ManifestFile:
    """The manifest of one checkpoint.

    Args:
        store: folder of the checkpoint.
        stage: stage of the checkpoint.
        key: key of the checkpoint.

    """

    def __init__(self, store: Store, stage: str, key: str) -> None:
        self._store = store
        self._stage = stage
        self._key = key
        self._place = f"{store.location}/{_FILE}"
        self._complete: Manifest | None = None

    def read(self) -> Manifest | None:
        """Read the manifest; None if the checkpoint was never begun.

        Raises:
            StorageError: a newer version of this software wrote it.
            CheckpointDamagedError: it is not what was written.

        """
        self._complete = None
        try:
            content = self._store.read(_FILE)
        except FileNotFoundError:
            return None
        manifest = self._parse(content)
        if manifest.complete:
            self._complete = manifest
        return manifest

    def known(self) -> Manifest | None:
        """Return the manifest as :meth:`read` does, but read that of a complete checkpoint once only."""
        return self._complete or self.read()

    def create(self, manifest: Manifest) -> bool:
        """Write the manifest if there is none yet; return whether there was none."""
        return self._store.create(_FILE, manifest_bytes(manifest))

    def write(self, manifest: Manifest) -> None:
        """Write the manifest, or replace it."""
        self._complete = None
        self._store.write(_FILE, manifest_bytes(manifest))

    def _parse(self, content: bytes) -> Manifest:
        try:
            manifest = parse_manifest(content)
            problem = self._problem(manifest)
        except StorageError as error:
            raise type(error)(f"{self._place} {error.args[0]}") from error
        except KeyError as error:
            raise CheckpointDamagedError(f"{self._place} is no manifest: it lacks {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointDamagedError(f"{self._place} is no manifest: {error}") from error
        if problem:
            raise CheckpointDamagedError(f"{self._place} {problem}")
        return manifest

    def _problem(self, manifest: Manifest) -> str | None:
        """Say why this checkpoint cannot have such a manifest, whose names become paths; None if it can."""
        if (manifest.stage, manifest.key) != (self._stage, self._key):
            return f"is that of {manifest.stage!r}/{manifest.key!r}"
        if manifest.rows < 0 or manifest.shard_rows < 1:
            return f"has {manifest.rows} rows in shards of {manifest.shard_rows}"
        for spec in manifest.arrays:
            if not _ARRAY.fullmatch(spec.name) or np.dtype(spec.dtype).kind not in _KINDS:
                return f"has an array {spec.name!r} of {spec.dtype!r}, which no stage writes"
        return None
