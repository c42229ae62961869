"""The models of a run, each loaded once per process: backbone, language model, trained network."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import torch

from dcn.errors import InvalidOptionError
from dcn.model_file import read_model
from dcn.network import DynamicClusteringNetwork
from dcn.weights.presets import Precision
from flows.errors import name_parameters
from flows.settings import Settings
from flows.stage import Job
from storage import Workspace
from storage.key import digest

if TYPE_CHECKING:
    from dcn.backbone import Backbone
    from dcn.language.maskclip import LanguageModel


# A cache alone would let every thread that comes before the first one is done load a model of its own.
_loading = Lock()


def choose_device(name: str) -> str:
    """A device of PyTorch; ``auto`` takes CUDA where there is one.

    Raises:
        InvalidOptionError: this machine has no such device.

    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise InvalidOptionError(f"device {name!r} cannot be used here: {reason}") from error
    return name


def load_backbone(settings: Settings) -> Backbone:
    """The backbone of a run, loaded once per process, whichever of its threads asks first."""
    backbone = settings.backbone
    device = choose_device(backbone.device)
    with _loading, name_parameters("setting backbone.{}"):
        return _load_backbone(backbone.name, backbone.weights, device, backbone.precision)


@lru_cache(maxsize=1)
def _load_backbone(name: str, weights: Path | None, device: str, precision: Precision) -> Backbone:
    from dcn.backbone import Backbone

    return Backbone.from_preset(name, weights, device, precision)[0]


def load_language_model(settings: Settings) -> LanguageModel:
    """The language model of a run, loaded once per process, whichever of its threads asks first."""
    language = settings.language
    assert language.model is not None
    device = choose_device(settings.backbone.device)
    with _loading, name_parameters("setting language.{}"):
        return _load_language_model(language.model, language.weights, device)


@lru_cache(maxsize=1)
def _load_language_model(name: str, weights: Path | None, device: str) -> LanguageModel:
    from dcn.language.maskclip import LanguageModel

    return LanguageModel.from_name(name, weights, device)


def weights_digest(path: Path | None, section: str) -> str | None:
    """Compute the digest of the file that the setting ``<section>.weights`` names; None without a file.

    Raises:
        WeightsUnavailableError: there is no such file.

    """
    if path is None:
        return None
    from dcn.weights.pretrained import check_weights_file

    with name_parameters(f"setting {section}.{{}}"):
        check_weights_file(path)
    return digest(path.read_bytes())


def load_network(job: Job) -> DynamicClusteringNetwork:
    """The trained network of a run, in the precision in which it segments, on its device.

    Read once per process: to read and check it takes as long as to segment a shard with it.
    """
    trained, backbone = job.checkpoint("train"), job.settings.backbone
    content = trained.require().content  # trained anew it has the same key, and may have other weights
    device = choose_device(backbone.device)
    with _loading:
        return _load_network(job.settings.workspace, trained.key, content, backbone.precision, device)


@lru_cache(maxsize=1)
def _load_network(
    workspace: str,
    key: str,
    content: str,  # noqa: ARG001 - the cache tells one training from another by it
    precision: Precision,
    device: str,
) -> DynamicClusteringNetwork:
    trained = Workspace(workspace).checkpoint("train", key)
    file = trained.read_file("dcn.safetensors")
    network, _ = read_model(file, trained.file_location("dcn.safetensors"))
    return network.to(device, getattr(torch, precision))
