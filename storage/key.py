"""Content addresses: the same question has the same key, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGEST_BYTES = 16


def content_key(value: Mapping[str, Any]) -> str:
    """Digest of a JSON value, 32 hexadecimal characters, independent of the order of its keys.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON cannot say.
        TypeError: the value holds something else that JSON cannot say.

    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return digest(text.encode())


def digest(content: bytes | memoryview) -> str:
    """BLAKE2b of bytes, 32 hexadecimal characters."""
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()
