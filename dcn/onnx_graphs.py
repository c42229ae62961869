"""A model as ONNX graphs: of the network alone, and of backbone and network together."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dcn.backbone import Backbone
from dcn.errors import InvalidOptionError
from dcn.flip_averaging import compute_features
from dcn.model import Model
from dcn.modularity import cosine_assignment
from dcn.network import DynamicClusteringNetwork

_PACKAGES = ("onnx", "onnxscript")
_INSTALL = "pip install 'dynamic-clustering-network[onnx]'"
# PyTorch takes a size of 0 or 1 for a constant, so the traced batch has two images.
_TRACED = 2


class _TokensToRegions(nn.Module):
    """The network: tokens ``[B, n, d]`` of the backbone in, soft assignment ``[B, n, k]`` out."""

    def __init__(self, network: DynamicClusteringNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        projected = self.network.project(tokens)  # [B, n, p]
        return cosine_assignment(projected, self.network(projected))


class _PhotographsToRegions(nn.Module):
    """Backbone and network in float32: photographs in, soft assignment and CLS attention out."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        described = model.stored.description.backbone
        self.vit = copy.deepcopy(model.backbone.model).float()
        # The position embeddings are resized here, once, and not by every run of the graph.
        cast(Any, self.vit).set_input_size(img_size=(described.input_size, described.input_size))
        self.regions = _TokensToRegions(model.stored.network)
        self._backbone = Backbone(self.vit)
        self._layers = described.token_layer, described.attention_block
        self._flip = bool(described.flip)

    def forward(self, photographs: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self._backbone.preprocess(photographs)
        features = compute_features(self._backbone, inputs, *self._layers, flip=self._flip)
        return self.regions(features.tokens), features.attention


def write_network(model: Model, file: Path) -> None:
    """Write the network as ONNX: ``tokens [B, n, d]`` in, ``assignment [B, n, k]`` out, float32.

    Args:
        model: the model.
        file: the file to write.

    Raises:
        InvalidOptionError: the extra ``onnx`` is not installed.

    """
    tokens = torch.randn(_TRACED, 16, model.stored.description.network["dim"])
    batch, patches = torch.export.Dim("images"), torch.export.Dim("patches")
    shapes = {"tokens": {0: batch, 1: patches}}
    _write(_TokensToRegions(model.stored.network), {"tokens": tokens}, shapes, ["assignment"], file)


def write_both(model: Model, file: Path) -> None:
    """Write backbone and network as one ONNX graph, with the normalization of the pixels.

    ``photographs [B, S, S, 3]`` uint8 RGB, squashed to the input size ``S`` of the model, in;
    ``assignment [B, n, k]`` and ``attention [B, h, n]``, float32, out.

    Args:
        model: the model.
        file: the file to write.

    Raises:
        InvalidOptionError: the extra ``onnx`` is not installed, or PyTorch cannot export this backbone.
        WeightsUnavailableError: the weights of the backbone cannot be loaded.

    """
    size = model.stored.description.backbone.input_size
    photographs = torch.zeros(_TRACED, size, size, 3, dtype=torch.uint8)
    shapes = {"photographs": {0: torch.export.Dim("images")}}
    names = ["assignment", "attention"]
    _write(_PhotographsToRegions(model), {"photographs": photographs}, shapes, names, file)


def _write(
    module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, Any], outputs: list[str], file: Path
) -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise InvalidOptionError(f"ONNX needs {' and '.join(missing)}; install them: {_INSTALL}")
    try:
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    except Exception as error:  # the exporter has its own errors for each operation that it does not know
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise InvalidOptionError(f"PyTorch cannot export this network as ONNX: {reason}") from error
    assert program is not None
    program.save(file, include_initializers=True, external_data=False)
