"""Tensors and their metadata from the content of a safetensors file, wherever it came from."""

from __future__ import annotations

import json

from safetensors.torch import load
from torch import Tensor


def read_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        safetensors.SafetensorError: it is none.

    """
    tensors = load(content)  # checks the header
    # The library gives the metadata of files on a disk only. Eight bytes say how long the header is.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {})
