"""Digests and keys. Equal values have equal digests, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

_CHARACTERS = 32


def content_key(value: Mapping[str, Any]) -> str:
    """Compute the digest of a JSON value: 32 hexadecimal characters, independent of the order of keys.

    Raises:
        ValueError: the value contains NaN or infinity, which JSON does not have.
        TypeError: the value contains something else that JSON does not have.

    """
    return digest(canonical_json(value))


def canonical_json(value: Any) -> bytes:
    """Write a value as JSON with sorted keys and no spaces. Raises the errors of :func:`content_key`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(content: bytes | memoryview) -> str:
    """Compute the first 128 bits of SHA-256 in hexadecimal. Most processors have instructions for SHA-256."""
    return digest_of_parts([content])


def digest_of_parts(parts: Iterable[bytes | memoryview]) -> str:
    """Compute :func:`digest` of content in parts. The digest does not depend on where the content is cut."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()[:_CHARACTERS]
