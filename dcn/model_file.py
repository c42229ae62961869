"""A trained DCN as one safetensors file: the weights, and in its metadata all that it takes to use them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from dcn.errors import InvalidModelFileError
from dcn.network import DynamicClusteringNetwork
from dcn.weights.presets import Precision
from dcn.weights.tensor_file import read_tensors

# One entry only: safetensors writes several in any order, and equal models shall be equal files.
_KEY = "dynamic-clustering-network"
_VERSION = 1


@dataclass(frozen=True)
class ModelDescription:
    """How to build the network, and the tokens that it was trained on.

    Attributes:
        network: arguments of :class:`dcn.network.DynamicClusteringNetwork`.
        backbone: name of the backbone, its weights file or None, input size, token layer, attention block
            and precision.

    """

    network: dict[str, Any]
    backbone: dict[str, Any]


def model_bytes(weights: dict[str, Tensor], description: ModelDescription) -> bytes:
    """The content of a model file."""
    content = {"version": _VERSION, "network": description.network, "backbone": description.backbone}
    tensors = {name: value.cpu().contiguous() for name, value in weights.items()}
    return save(tensors, {_KEY: json.dumps(content, sort_keys=True)})


def load_model(path: Path) -> tuple[DynamicClusteringNetwork, ModelDescription]:
    """The network of a model file, in evaluation mode on the CPU.

    Raises:
        InvalidModelFileError: the file does not exist or is something else.

    """
    if not path.is_file():
        raise InvalidModelFileError(f"there is no model file {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    return read_model(content, str(path))


def read_model(content: bytes, source: str) -> tuple[DynamicClusteringNetwork, ModelDescription]:
    """The network in the content of a model file, in evaluation mode on the CPU.

    Args:
        content: see :func:`model_bytes`.
        source: where it came from, for the error.

    Raises:
        InvalidModelFileError: it is something else.

    """
    try:
        tensors, metadata = read_tensors(content)
        described = json.loads(metadata.get(_KEY, "null"))
        if described is None:
            raise InvalidModelFileError(f"{source} is not a trained DCN: it does not say how it was trained")
        if described["version"] != _VERSION:
            raise InvalidModelFileError(
                f"{source} has version {described['version']}; this software reads version {_VERSION}"
            )
        description = ModelDescription(described["network"], described["backbone"])
        network = DynamicClusteringNetwork(**description.network)
        network.load_state_dict(tensors)
        _check_backbone(description.backbone)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InvalidModelFileError(f"{source} is not a trained DCN: {error}") from error
    return network.eval().requires_grad_(False), description


def _check_backbone(backbone: dict[str, Any]) -> None:
    """Raise ValueError where the description names something else than a backbone: it may be a stranger's."""
    numbers = ("input_size", "token_layer", "attention_block")
    kinds: dict[str, tuple[type, ...]] = {"name": (str,), "weights": (str, type(None))}
    kinds |= dict.fromkeys(numbers, (int,))
    wrong = [name for name, kind in kinds.items() if not isinstance(backbone.get(name), kind)]
    if backbone.get("precision", "float32") not in get_args(Precision):
        wrong.append("precision")
    if wrong:
        raise ValueError(f"{wrong[0]} of its backbone is {backbone.get(wrong[0])!r}")
