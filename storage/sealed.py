"""JSON that contains its own digest, so that a reader can see whether somebody changed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from storage.errors import CheckpointDamagedError
from storage.key import content_key
from storage.stores.store import json_bytes


def seal(content: Mapping[str, Any]) -> bytes:
    """Encode the content as JSON with its digest."""
    # A reader computes the digest of the decoded JSON, in which every key is text. So this function does,
    # too.
    seen = json.loads(json_bytes(content))
    return json_bytes({**seen, "digest": content_key(seen)})


def unseal(content: dict[str, Any]) -> dict[str, Any]:
    """Remove the digest from decoded JSON, and compare it with the rest.

    Raises:
        CheckpointDamagedError: the digest is that of another content.
        KeyError: there is no digest.

    """
    expected = content.pop("digest")
    actual = content_key(content)
    if actual != expected:
        raise CheckpointDamagedError(f"has digest {actual}, not {expected}: it was changed")
    return content
