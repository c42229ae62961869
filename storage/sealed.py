"""JSON with its own digest written into it, so that a reader knows it for what was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from storage.errors import CheckpointDamagedError
from storage.key import content_key
from storage.stores.store import json_bytes


def seal(content: Mapping[str, Any]) -> bytes:
    """JSON of the content and its digest."""
    # The digest is that of the JSON that a reader will see, in which every key is text.
    seen = json.loads(json_bytes(content))
    return json_bytes({**seen, "digest": content_key(seen)})


def unseal(content: dict[str, Any]) -> dict[str, Any]:
    """JSON without the digest that was written into it.

    Raises:
        CheckpointDamagedError: it has another digest.
        KeyError: it has none.

    """
    expected = content.pop("digest")
    actual = content_key(content)
    if actual != expected:
        raise CheckpointDamagedError(f"has digest {actual}, not {expected}: it was changed")
    return content
