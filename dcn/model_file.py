"""A trained DCN as one safetensors file: the weights, and in its metadata all that it takes to use them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dcn.errors import InvalidModelFileError
from dcn.network import DynamicClusteringNetwork

_FORMAT = "dynamic-clustering-network/1"


@dataclass(frozen=True)
class ModelDescription:
    """How to build the network, and the tokens that it was trained on.

    Attributes:
        network: arguments of :class:`dcn.network.DynamicClusteringNetwork`.
        backbone: name of the backbone, its weights file or None, input size, token layer and attention block.

    """

    network: dict[str, Any]
    backbone: dict[str, Any]


def model_bytes(weights: dict[str, Tensor], description: ModelDescription) -> bytes:
    """The content of a model file."""
    metadata = {
        "format": _FORMAT,
        "network": json.dumps(description.network),
        "backbone": json.dumps(description.backbone),
    }
    return save({name: value.cpu().contiguous() for name, value in weights.items()}, metadata)


def load_model(path: Path) -> tuple[DynamicClusteringNetwork, ModelDescription]:
    """The network of a model file, in evaluation mode on the CPU.

    Raises:
        InvalidModelFileError: the file does not exist or is something else.

    """
    if not path.is_file():
        raise InvalidModelFileError(f"there is no model file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise InvalidModelFileError(
                    f"{path} is not a trained DCN: its format is {metadata.get('format')!r}, not {_FORMAT!r}"
                )
            description = ModelDescription(json.loads(metadata["network"]), json.loads(metadata["backbone"]))
            network = DynamicClusteringNetwork(**description.network)
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InvalidModelFileError(f"{path} is not a trained DCN: {error}") from error
    return network.eval().requires_grad_(False), description
