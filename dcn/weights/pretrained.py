"""Pretrained weights of a backbone: from timm's hub, from a local file, or from a package."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dcn.errors import UnknownModelError, WeightsUnavailableError
from dcn.weights.focus import focus_state_dict
from dcn.weights.hub import require_hub
from dcn.weights.presets import PRESETS, Preset
from dcn.weights.weights_file import check_weights_file

# Errors that PyTorch and safetensors raise when a file is broken.
_UNREADABLE = (
    pickle.UnpicklingError,
    SafetensorError,
    EOFError,
    RuntimeError,
    TypeError,
    ValueError,
    OSError,
)
# A backbone that needs no network.
_PACKAGED = next(name for name, preset in PRESETS.items() if preset.packaged)


def create_pretrained(name: str, preset: Preset, weights: Path | None, **kwargs: Any) -> nn.Module:
    """Create a timm ViT without head, with pretrained weights.

    Args:
        name: the name the user gave, for messages.
        preset: what to load.
        weights: a ``.safetensors`` file or a PyTorch ``.pth`` with timm's or the authors' key names. None
            takes the package's weights or timm's hub.
        kwargs: for ``timm.create_model``.

    Raises:
        WeightsUnavailableError: there are no such weights, or they do not fit the model.

    """
    if weights is None and not preset.packaged:
        return _from_hub(name, preset, kwargs)
    model = _create(name, preset, kwargs, pretrained=False)
    state = focus_state_dict() if weights is None else read_state_dict(weights)
    convert = sys.modules[type(model).__module__].checkpoint_filter_fn
    try:
        result = model.load_state_dict(convert(state, model), strict=False)
    except (RuntimeError, KeyError, ValueError) as error:
        raise WeightsUnavailableError(
            f"{weights or name} does not fit {preset.timm_name}: {error}", parameter="weights"
        ) from error
    if result.missing_keys:
        raise WeightsUnavailableError(
            f"{weights or name} is not a checkpoint of {preset.timm_name}: it lacks "
            f"{', '.join(result.missing_keys[:3])} and {max(0, len(result.missing_keys) - 3)} more",
            parameter="weights",
        )
    return model


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` or PyTorch file. Unpickles nothing but tensors.

    From a training checkpoint of the DINO authors (``teacher`` beside ``student``) this takes the teacher.

    Raises:
        WeightsUnavailableError: there is no such file, or it is not one of the two formats.

    """
    check_weights_file(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise WeightsUnavailableError(
            f"{path} cannot be read as weights: {_reason(error)}", parameter="weights"
        ) from error
    for key in ("teacher", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsUnavailableError(f"{path} holds no state dict (names and tensors)", parameter="weights")
    for prefix in ("module.", "backbone."):  # distributed training and the authors' wrapper prepend these
        if any(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return {key: value for key, value in state.items() if not key.startswith("head.")}


def _create(name: str, preset: Preset, kwargs: dict[str, Any], *, pretrained: bool) -> nn.Module:
    import timm  # it brings torchvision; a run that finds everything done needs neither

    try:
        model: nn.Module = timm.create_model(preset.timm_name, pretrained=pretrained, num_classes=0, **kwargs)
    except AssertionError as error:  # timm's, where a model without CLS token is to pool by it
        raise UnknownModelError(
            f"{name} has no CLS token, whose attention finds the foreground", parameter="name"
        ) from error
    return model


def _from_hub(name: str, preset: Preset, kwargs: dict[str, Any]) -> nn.Module:
    import timm

    hub_id = getattr(timm.get_pretrained_cfg(preset.timm_name), "hf_hub_id", None)
    try:
        if hub_id:
            require_hub(hub_id)
        return _create(name, preset, kwargs, pretrained=True)
    except UnknownModelError:
        raise
    except Exception as error:  # every hub client has its own errors; all mean the same to the user
        files = [f"model.safetensors of {hub_id}"] if hub_id else []
        if preset.weights_file:
            files.append(f"the authors' {preset.weights_file}")
        raise WeightsUnavailableError(
            f"the weights of {name} ({preset.timm_name}) could not be downloaded: {_reason(error)}\n"
            f"Without network, take the backbone {_PACKAGED}, whose weights are installed as a package. Or "
            f"download {' or '.join(files) or 'a checkpoint of this model'} on another machine and give the "
            f"file as weights",
            parameter="weights",
        ) from error


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
