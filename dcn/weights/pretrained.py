"""Pretrained weights of a backbone: from timm's hub, from a local file, or from a package."""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dcn.errors import UnknownModelError, WeightsUnavailableError
from dcn.weights.file_format import weights_format
from dcn.weights.fit import load_fitting
from dcn.weights.focus import focus_state_dict
from dcn.weights.hub import require_hub
from dcn.weights.presets import PRESETS, Preset
from dcn.weights.weights_file import check_weights_file

# Where the checkpoint of a training keeps the model. DINO trains a teacher beside the student, and publishes
# the teacher.
_MODELS = ("teacher", "student", "state_dict", "model")
# Distributed training, torch.compile and the wrapper of the DINO authors prepend these to the names.
_WRAPPERS = re.compile(r"\A(?:module\.|_orig_mod\.|backbone\.)+")
_FOREIGN_OBJECT = re.compile(r"(?:GLOBAL|class|global:?) ([\w.]+\.[\w.]+)")
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
        WeightsUnavailableError: there are no such weights, or they are those of another model.

    """
    if weights is None and not preset.packaged:
        return _from_hub(name, preset, kwargs)
    model = _create(name, preset, kwargs, pretrained=False)
    state = focus_state_dict() if weights is None else read_state_dict(weights)
    convert = sys.modules[type(model).__module__].checkpoint_filter_fn
    load_fitting(model, state, convert, f"{weights or name} does not fit {name} ({preset.timm_name})")
    return model


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors or PyTorch file, whatever its suffix says.

    Unpickles nothing but tensors, and the options (``argparse.Namespace``) that the DINO authors save with
    them. From a checkpoint of a training this takes the teacher, or else the student, without its head.

    Raises:
        WeightsUnavailableError: there is no such file, or it is not one of the two formats.

    """
    check_weights_file(path)
    state = _read(path)
    for key in _MODELS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsUnavailableError(f"{path} holds no state dict (names and tensors)", parameter="weights")
    tensors = {_WRAPPERS.sub("", str(name)): value for name, value in state.items()}
    return {name: value for name, value in tensors.items() if not name.startswith("head.")}


def _read(path: Path) -> Any:
    """Read the content of a file of weights: tensors by name, or what else a checkpoint holds."""
    try:
        if weights_format(path) == "safetensors":
            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # PyTorch asks users to report pickles of other programs
            with path.open("rb") as file:  # of a path PyTorch would believe the suffix
                return torch.load(file, map_location="cpu", weights_only=True)
    except WeightsUnavailableError:
        raise
    except Exception as error:  # both libraries have many errors for a broken file; they mean the same
        raise WeightsUnavailableError(
            f"{path} cannot be read as weights: {_what_is_wrong(error)}", parameter="weights"
        ) from error


def _what_is_wrong(error: Exception) -> str:
    """Say why PyTorch or safetensors cannot read a file, without PyTorch's advice to run the code in it."""
    text = str(error)
    if isinstance(error, EOFError | struct.error) or "unexpected EOF" in text:
        return "it is incomplete; download it again"
    if isinstance(error, pickle.UnpicklingError):
        found = _FOREIGN_OBJECT.search(text)
        held = f"objects of {found[1]}" if found else "more than tensors"
        return f"it holds {held}, or is damaged; save the state dict of the model alone, or download it again"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it is damaged ({_reason(error)}); download it again"


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
