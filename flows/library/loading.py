"""Opening a model by what names it: a file, a folder, a checkpoint, a configuration or an id of the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dcn.errors import DCNError, WeightsUnavailableError
from dcn.model import MODEL_FILE, Model
from dcn.model_file import StoredModel, load_model
from flows.errors import FlowError
from flows.library.run_model import model_of_run, model_of_training
from flows.settings.loading import config_names, load_settings
from storage import Workspace

_WORKSPACE = "workspace"
_CONFIGURATIONS = (".yaml", ".yml")
_CHECKPOINT = re.compile(r"(.+)/train/([0-9a-f]{1,32})")
_KEY = re.compile(r"[0-9a-f]{4,32}")
_KEY_DIGITS = 32
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Where a folder has its model: in the conventions of the hub, and in a checkpoint that was copied.
_IN_FOLDER = (MODEL_FILE, "files/dcn.safetensors", "dcn.safetensors")


def load(
    source: str | os.PathLike[str],
    *,
    workspace: str | None = None,
    overrides: Sequence[str] = (),
    weights: Path | None = None,
    device: str = "auto",
) -> Model:
    """Open a model.

    Args:
        source: a configuration (a YAML file, or the name of a packaged one) whose network is trained; a
            workspace with one training; a checkpoint of ``train``, or the first digits of its key; a model
            file; a folder that ``Model.save_pretrained`` wrote; or the id of a model on the Hugging Face Hub,
            ``owner/name``.
        workspace: workspace of a configuration or of a key; None takes that of the configuration, and the
            folder ``workspace`` for a key.
        overrides: changes of the configuration, each ``section.name=value``.
        weights: local file of the backbone's weights; None takes those that the network was trained with.
        device: device of PyTorch; ``auto`` is CUDA if there is one, else the CPU.

    Returns:
        The model. Its backbone is loaded for the first photograph.

    Raises:
        FlowError: there is no such model, or there are several.
        CheckpointMissingError: the configuration is not trained yet.
        InvalidModelFileError: a file is no model of this project.
        WeightsUnavailableError: the hub cannot be reached, or has no such model.

    Example::

        model = dcn.load("mine.yaml")
        result = model.segment("photo.jpg")

    """
    return Model(_find(os.fspath(source), workspace, list(overrides)), weights, device)


def _find(name: str, workspace: str | None, overrides: list[str]) -> StoredModel:
    path = Path(name)
    if path.suffix in _CONFIGURATIONS or (name in config_names() and not path.exists()):
        return model_of_run(load_settings(name, overrides, workspace))
    if file := _model_file(path):
        return load_model(file)
    if training := _named_training(name, workspace):  # through the workspace, which knows what was written
        return _training(*training)
    if _HUB_ID.fullmatch(name):
        return _download(name)
    raise FlowError(
        f"there is no model file, folder or configuration {name}; give one of these, a checkpoint of train "
        f"or its key, or an id of the Hugging Face Hub (owner/name)"
    )


def _model_file(path: Path) -> Path | None:
    """Find the model file that a path names, or that its folder has; None for a checkpoint of a workspace."""
    if path.is_file():
        return path
    checkpoint = _CHECKPOINT.fullmatch(str(path.resolve()))
    if checkpoint and len(checkpoint[2]) == _KEY_DIGITS:
        return None
    return next((path / place for place in _IN_FOLDER if (path / place).is_file()), None)


def _named_training(name: str, workspace: str | None) -> tuple[str, str] | None:
    """Split the name of a training into its workspace and the first digits of its key; None if it is none."""
    remote = "://" in name
    if checkpoint := _CHECKPOINT.fullmatch(name.rstrip("/") if remote else str(Path(name).resolve())):
        return checkpoint[1], checkpoint[2]
    if remote or Path(name).is_dir():
        return name, ""
    return (workspace or _WORKSPACE, name) if _KEY.fullmatch(name) else None


def _training(location: str, digits: str) -> StoredModel:
    """Read the model of the only training of a workspace whose key begins with some digits."""
    workspace = Workspace(location)
    if "://" not in location and not Path(location).is_dir():
        raise FlowError(f"there is no workspace {workspace.location}; give the folder of the checkpoints")
    begun = {
        checkpoint: manifest
        for checkpoint in workspace.checkpoints()
        if checkpoint.stage == "train" and checkpoint.key.startswith(digits)
        if (manifest := checkpoint.read_manifest())
    }
    found = [checkpoint for checkpoint, manifest in begun.items() if manifest.complete] or list(begun)
    what = f"training whose key begins with {digits}" if digits else "training"
    if not found:
        raise FlowError(
            f"{workspace.location} has no {what}; give the folder of a workspace with a trained network"
        )
    if len(found) > 1:
        keys = ", ".join(checkpoint.key for checkpoint in found)
        raise FlowError(
            f"{workspace.location} has more than one {what}: {keys}; name one as "
            f"{workspace.location}/train/KEY, or give its configuration"
        )
    return model_of_training(found[0], workspace)


def _download(name: str) -> StoredModel:
    try:
        return Model.from_pretrained(name).stored
    except DCNError:
        raise
    except Exception as error:  # the client of the hub has its own errors; all mean the same to the user
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsUnavailableError(
            f"there is no folder {name}, and no model of this id could be downloaded from the Hugging Face "
            f"Hub: {reason}; check the name, or download the model on another machine and give its folder"
        ) from error
