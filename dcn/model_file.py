"""A trained DCN as one safetensors file: the weights, and metadata that say how to use them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from dcn.errors import InvalidModelFileError
from dcn.network import DynamicClusteringNetwork
from dcn.weights.presets import Precision
from dcn.weights.tensor_file import read_tensors

# The metadata have a single entry: safetensors writes several in any order, and equal models must be equal
# files.
_KEY = "dynamic-clustering-network"
_VERSION = 1


@dataclass(frozen=True)
class ModelDescription:
    """How to build a trained network, and how to compute the tokens that it was trained on.

    Attributes:
        network: arguments of :class:`dcn.network.DynamicClusteringNetwork`.
        backbone: ``name`` of the backbone, ``weights`` (path of a file, or None), ``input_size`` in pixels,
            ``token_layer``, ``attention_block`` and ``precision``.

    """

    network: dict[str, Any]
    backbone: dict[str, Any]


def model_bytes(weights: dict[str, Tensor], description: ModelDescription) -> bytes:
    """Serialize a trained network as the content of a model file.

    Args:
        weights: state dict of a :class:`dcn.network.DynamicClusteringNetwork`.
        description: how to build the network, and its backbone.

    Returns:
        Content of a safetensors file. Equal arguments give equal bytes.

    """
    content = {"version": _VERSION, "network": description.network, "backbone": description.backbone}
    tensors = {name: value.cpu().contiguous() for name, value in weights.items()}
    return save(tensors, {_KEY: json.dumps(content, sort_keys=True)})


def load_model(path: Path) -> tuple[DynamicClusteringNetwork, ModelDescription]:
    """Load a trained network from a model file.

    Args:
        path: the file, ``dcn.safetensors`` of a training.

    Returns:
        The network, in evaluation mode on the CPU, and its description.

    Raises:
        InvalidModelFileError: the file does not exist, cannot be read, or is not a trained DCN.

    Example:
        >>> backbone = {"name": "dino-s8", "weights": None, "input_size": 224}
        >>> backbone |= {"token_layer": -1, "attention_block": -1}
        >>> weights = DynamicClusteringNetwork(dim=384).state_dict()
        >>> content = model_bytes(weights, ModelDescription({"dim": 384}, backbone))
        >>> _ = Path("dcn.safetensors").write_bytes(content)
        >>> network, description = load_model(Path("dcn.safetensors"))
        >>> description.backbone["name"]
        'dino-s8'

    """
    if not path.is_file():
        raise InvalidModelFileError(f"there is no model file {path}; name a dcn.safetensors")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    return read_model(content, str(path))


def read_model(content: bytes, source: str) -> tuple[DynamicClusteringNetwork, ModelDescription]:
    """Build a trained network from the content of a model file.

    Args:
        content: bytes from :func:`model_bytes`.
        source: name of the file, for error messages.

    Returns:
        The network, in evaluation mode on the CPU, and its description.

    Raises:
        InvalidModelFileError: the content is not a trained DCN.

    """
    try:
        tensors, metadata = read_tensors(content)
        described = json.loads(metadata.get(_KEY, "null"))
        if described is None:
            raise InvalidModelFileError(
                f"{source} is not a trained DCN: it does not say how it was trained; name a dcn.safetensors"
            )
        if described["version"] != _VERSION:
            raise InvalidModelFileError(
                f"{source} has version {described['version']}; this software reads version {_VERSION}"
            )
        description = ModelDescription(described["network"], described["backbone"])
        _check_size(description.network, tensors)
        network = DynamicClusteringNetwork(**description.network)
        network.load_state_dict(tensors)
        _check_backbone(description.backbone)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InvalidModelFileError(f"{source} is not a trained DCN: {error}") from error
    return network.eval().requires_grad_(False), description


def _check_size(arguments: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Raise ValueError if a network is another one than its tensors: building it could take all memory."""
    if arguments.get("num_stages", 1) > len(tensors):
        raise ValueError(f"it has {len(tensors)} tensors for {arguments['num_stages']} stages")
    with torch.device("meta"):  # shapes without memory
        expected = DynamicClusteringNetwork(**arguments).state_dict()
    for name in expected.keys() | tensors.keys():
        if name not in expected or name not in tensors or expected[name].shape != tensors[name].shape:
            raise ValueError(f"the tensor {name} is not that of the network {arguments}")


def _check_backbone(backbone: dict[str, Any]) -> None:
    """Raise ValueError if a description is not that of a backbone. The file may come from anybody."""
    numbers = ("input_size", "token_layer", "attention_block")
    kinds: dict[str, tuple[type, ...]] = {"name": (str,), "weights": (str, type(None))}
    kinds |= dict.fromkeys(numbers, (int,))
    wrong = [name for name, kind in kinds.items() if not isinstance(backbone.get(name), kind)]
    if backbone.get("precision", "float32") not in get_args(Precision):
        wrong.append("precision")
    if wrong:
        raise ValueError(f"{wrong[0]} of its backbone is {backbone.get(wrong[0])!r}")
