"""Content addresses: the same question has the same key, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

_CHARACTERS = 32


def content_key(value: Mapping[str, Any]) -> str:
    """Digest of a JSON value, 32 hexadecimal characters, independent of the order of its keys.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON cannot say.
        TypeError: the value holds something else that JSON cannot say.

    """
    return digest(canonical_json(value))


def canonical_json(value: Any) -> bytes:
    """The one JSON of a value: its keys in order, nothing between them. Raises as :func:`content_key`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(content: bytes | memoryview) -> str:
    """The first 128 bits of SHA-256, which today's processors compute in hardware, in hexadecimal."""
    return digest_of_parts([content])


def digest_of_parts(parts: Iterable[bytes | memoryview]) -> str:
    """The same of content that comes in parts, however it is cut."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()[:_CHARACTERS]
