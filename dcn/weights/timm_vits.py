"""The names of timm's ViTs, read from its source text. To import timm is to import PyTorch: seconds."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

# The modules of timm whose models are ViTs whose last blocks this project can read.
_MODULES = ("vision_transformer", "eva")
_ARCHITECTURE = re.compile(r"^@register_model\ndef (\w+)\(", re.MULTILINE)
# A key of the table of pretrained weights: the name of an architecture, and that of its weights.
_PRETRAINED = re.compile(r"^    ['\"](\w+\.\w+)['\"]:", re.MULTILINE)


@cache
def timm_vits() -> frozenset[str]:
    """Names of the ViTs of the installed timm: all architectures, and most with the name of their weights.

    Example:
        >>> {"vit_small_patch8_224", "vit_small_patch8_224.dino"} <= timm_vits()
        True

    """
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    names: set[str] = set()
    for module in _MODULES:
        source = (Path(spec.origin).parent / "models" / f"{module}.py").read_text(encoding="utf-8")
        names.update(_ARCHITECTURE.findall(source), _PRETRAINED.findall(source))
    return frozenset(names)
