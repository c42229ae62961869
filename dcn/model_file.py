"""A model as one safetensors file: weights, centers and head of the classes, and how to use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from dcn.class_head import ClassHead
from dcn.class_names import name_classes
from dcn.errors import InvalidClassNamesError, InvalidModelFileError
from dcn.model_description import ClassDescription, ModelDescription
from dcn.network import DynamicClusteringNetwork
from dcn.weights.tensor_file import read_tensors
from dcn.whitening import TokenWhitening, whitening_of

# The metadata have a single entry: safetensors writes several in any order, and equal models must be equal
# files.
_KEY = "dynamic-clustering-network"
# Version 2 added the description of regions, embeddings and classes, and the centers of the classes. Version
# 3 added the head, other sources of embeddings than masked crops, and their whitening. A model that has none
# of these is written as version 2, so that it stays the same file.
_VERSION = 3
_CENTERS = "class_centers"
_WHITENING = "embedding_whitening."
_HEAD = "head."


@dataclass(frozen=True)
class StoredModel:
    """The content of a model file.

    Attributes:
        network: the network, float32 on the CPU, in evaluation mode.
        description: how to use it.
        class_centers: ``[c, d]`` float32 centers of the clusters; None if the model knows no classes.
        whitening: whitening of the embeddings of regions, among which the centers are; None without.
        head: gives each patch a class, float32 on the CPU, in evaluation mode; None if the model has none.

    """

    network: DynamicClusteringNetwork
    description: ModelDescription
    class_centers: npt.NDArray[np.float32] | None = None
    whitening: TokenWhitening | None = None
    head: ClassHead | None = None

    def to_bytes(self) -> bytes:
        """Serialize as the content of a model file."""
        return model_bytes(
            self.network.state_dict(), self.description, self.class_centers, self.whitening, self.head
        )

    def renamed(self, names: Mapping[int, str]) -> StoredModel:
        """Return the model with other names of its classes; classes with the same name become one.

        Args:
            names: name by the number that a class has in the label maps of this model
                (:func:`dcn.class_names.read_names`).

        Raises:
            InvalidClassNamesError: the model has no such class, or knows none.

        """
        classes = self.description.classes
        if classes is None:
            raise InvalidClassNamesError(
                "the model knows no classes that could be named; give a model of a run with classes",
                parameter="names",
            )
        named = name_classes(classes.named.names, names)
        joined = ClassDescription(matched=tuple(classes.class_of_center.tolist()), named=named)
        head = self.description.head
        if head is not None:
            matched = classes.named.of_clusters(np.array(head.matched)).tolist()
            head = head.model_copy(update={"matched": tuple(matched)})
        return replace(
            self, description=self.description.model_copy(update={"classes": joined, "head": head})
        )

    def portable(self) -> StoredModel:
        """Return the model for other machines: of a file of weights it names the file without its folder."""
        backbone = self.description.backbone
        name = Path(backbone.weights).name if backbone.weights else None
        moved = backbone.model_copy(update={"weights": name})
        return replace(self, description=self.description.model_copy(update={"backbone": moved}))


def model_bytes(
    weights: dict[str, Tensor],
    description: ModelDescription,
    class_centers: npt.NDArray[np.float32] | None = None,
    whitening: TokenWhitening | None = None,
    head: ClassHead | None = None,
) -> bytes:
    """Serialize a network as the content of a model file.

    The weights are stored in half precision, which halves the file. The centers of the classes and the
    whitening, which are small and decide between classes, keep their precision.

    Args:
        weights: state dict of a :class:`dcn.network.DynamicClusteringNetwork`.
        description: how to build the network, and how to use it.
        class_centers: ``[c, d]`` centers of the classes of ``description.classes``.
        whitening: whitening of the embeddings.
        head: the head of ``description.head``.

    Returns:
        Content of a safetensors file. Equal arguments give equal bytes.

    """
    content = description.model_dump(mode="json", exclude_none=True)
    other_sources = content.get("embedding", {}).keys() > {"layer", "size"}
    extended = other_sources or whitening is not None or head is not None
    content["version"] = _VERSION if extended else 2
    tensors = {name: in_half_precision(value) for name, value in weights.items()}
    if head is not None:
        tensors |= {f"{_HEAD}{name}": in_half_precision(value) for name, value in head.state_dict().items()}
    if class_centers is not None:
        tensors[_CENTERS] = torch.from_numpy(class_centers)
    if whitening is not None:
        tensors |= {_WHITENING + name: value for name, value in whitening.state_dict().items()}
    return save(tensors, {_KEY: json.dumps(content, sort_keys=True)})


def load_model(path: Path) -> StoredModel:
    """Load a model file.

    Args:
        path: the file.

    Raises:
        InvalidModelFileError: the file does not exist, cannot be read, or is no model of this project.

    Example:
        >>> backbone = {"name": "dino-s8", "weights": None, "input_size": 224}
        >>> backbone |= {"token_layer": -1, "attention_block": -1}
        >>> weights = DynamicClusteringNetwork(dim=384).state_dict()
        >>> content = model_bytes(weights, ModelDescription(network={"dim": 384}, backbone=backbone))
        >>> _ = Path("dcn.safetensors").write_bytes(content)
        >>> load_model(Path("dcn.safetensors")).description.backbone.name
        'dino-s8'

    """
    if not path.is_file():
        raise InvalidModelFileError(f"there is no model file {path}; name a file of safetensors")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    return read_model(content, str(path))


def read_model(content: bytes, source: str) -> StoredModel:
    """Build a network from the content of a model file.

    Args:
        content: bytes from :func:`model_bytes`.
        source: name of the file, for error messages.

    Raises:
        InvalidModelFileError: the content is no model of this project.

    """
    try:
        tensors, metadata = read_tensors(content)
        described = json.loads(metadata.get(_KEY, "null"))
        if described is None:
            raise InvalidModelFileError(
                f"{source} is not a trained DCN: it does not say how it was trained; name a dcn.safetensors"
            )
        version = described.pop("version")
        if version > _VERSION:
            raise InvalidModelFileError(
                f"{source} has version {version}; this software reads versions up to {_VERSION}"
            )
        description = ModelDescription.model_validate(described)
        own = _taken(tensors, _WHITENING)
        whitening = whitening_of(own) if own else None
        centers = _checked_centers(tensors.pop(_CENTERS, None), description, whitening)
        of_head = _taken(tensors, _HEAD)
        network = _build_network(description.network, tensors)
        head = _checked_head(of_head, description)
    except ValidationError as error:
        raise InvalidModelFileError(f"{source} is not a trained DCN: {_describe(error)}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InvalidModelFileError(f"{source} is not a trained DCN: {error}") from error
    return StoredModel(network.eval().requires_grad_(False), description, centers, whitening, head)


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors out whose names have a prefix. Returns them without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _build_network(arguments: dict[str, Any], tensors: dict[str, Tensor]) -> DynamicClusteringNetwork:
    """Build a network of the given tensors.

    Raises:
        ValueError: they are those of another network. Building it first could take all memory.

    """
    if arguments.get("num_stages", 1) > len(tensors):
        raise ValueError(f"it has {len(tensors)} tensors for {arguments['num_stages']} stages")
    with torch.device("meta"):  # shapes without memory, and without random weights
        network = DynamicClusteringNetwork(**arguments)
    expected = network.state_dict()
    if wrong := _other_tensor(expected, tensors):
        raise ValueError(f"the tensor {wrong} is not that of the network {arguments}")
    network.load_state_dict({name: tensors[name].to(expected[name].dtype) for name in expected}, assign=True)
    return network


def _other_tensor(expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> str | None:
    """Name a tensor that is missing, that nobody expects, or that has another shape; None without one."""
    for name in expected.keys() | tensors.keys():
        if name not in expected or name not in tensors or expected[name].shape != tensors[name].shape:
            return name
    return None


def in_half_precision(weights: Tensor) -> Tensor:
    """Convert to float16, unless a value is too large for it."""
    half = weights.cpu().half()
    return (half if half.isfinite().all() else weights.cpu()).contiguous()


def _checked_centers(
    centers: Tensor | None, description: ModelDescription, whitening: TokenWhitening | None
) -> npt.NDArray[np.float32] | None:
    """Check that a file has the finite centers of its description, as wide as its whitening."""
    if description.classes is None and centers is None:
        return None
    count = len(description.classes.matched) - 1 if description.classes else 0
    if centers is None or centers.ndim != 2 or len(centers) != count or not centers.isfinite().all():
        raise ValueError(f"it does not have the {count} centers of its classes")
    if whitening is not None and centers.shape[1] != whitening.width:
        raise ValueError(
            f"its centers have {centers.shape[1]} channels, and its embeddings have {whitening.width} after "
            f"their whitening"
        )
    return centers.float().numpy()


def _checked_head(tensors: dict[str, Tensor], description: ModelDescription) -> ClassHead | None:
    """Build the head of a file; raises ValueError if its tensors are not those of its description."""
    described, classes = description.head, description.classes
    if described is None and not tensors:
        return None
    if described is None or classes is None:
        raise ValueError("it has a head without a description of the head and of the classes")
    most = len(classes.named.class_of_cluster) - 1
    if min(described.matched) < 0 or max(described.matched) > most:
        raise ValueError(f"a cluster of its head has a number outside of 0 to {most}")
    width = description.network["dim"]
    with torch.device("meta"):
        expected = ClassHead(width, described).state_dict()
    if _other_tensor(expected, tensors) or not all(one.isfinite().all() for one in tensors.values()):
        raise ValueError(
            f"its head is not one of {len(described.matched)} clusters with the layers {described.layers}"
        )
    head = ClassHead(width, described)
    head.load_state_dict(tensors)
    return head.eval().requires_grad_(False)


def _describe(error: ValidationError) -> str:
    """Say which value of a description is wrong."""
    first = error.errors()[0]
    place = " of its ".join(str(part) for part in reversed(first["loc"]))
    if first["type"] == "missing":
        return f"{place} is missing"
    return f"{place} is {first['input']!r}: {first['msg']}"
