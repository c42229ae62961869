"""Loading of the models of a run, once per process: backbone, language model, trained network."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from dcn.device import choose_device
from dcn.weights.presets import Precision
from flows.errors import name_parameters
from flows.settings import Settings
from flows.stage import Job
from storage import Workspace
from storage.key import digest

if TYPE_CHECKING:
    from dcn.backbone import Backbone
    from dcn.language.maskclip import LanguageModel
    from dcn.network import DynamicClusteringNetwork


# Without this lock, every thread that asks before the first one has finished would load its own model.
_loading = Lock()


def load_backbone(settings: Settings) -> Backbone:
    """Load the backbone of a run, once per process. Safe to call from several threads."""
    backbone = settings.backbone
    device = choose_device(backbone.device)
    with _loading, name_parameters("setting backbone.{}"):
        return _load_backbone(backbone.name, backbone.weights, device, backbone.precision)


@lru_cache(maxsize=1)
def _load_backbone(name: str, weights: Path | None, device: str, precision: Precision) -> Backbone:
    from dcn.backbone import Backbone

    return Backbone.from_preset(name, weights, device, precision)[0]


def backbone_identity(settings: Settings) -> dict[str, Any]:
    """Select what identifies the backbone in the keys of the stages that run it, as JSON."""
    backbone = settings.backbone
    return {
        "backbone": backbone.name,
        "weights": weights_digest(backbone.weights, "backbone"),
        "precision": backbone.precision,
    }


def load_language_model(settings: Settings) -> LanguageModel:
    """Load the language model of a run, once per process. Safe to call from several threads."""
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
    from dcn.weights.weights_file import check_weights_file

    with name_parameters(f"setting {section}.{{}}"):
        check_weights_file(path)
    return digest(path.read_bytes())


def load_network(job: Job) -> DynamicClusteringNetwork:
    """Load the trained network of a run, in the precision of the backbone, on the run's device.

    It is loaded once per process: reading and checking it takes as long as segmenting a shard.
    """
    trained, backbone = job.checkpoint("train"), job.settings.backbone
    # A second training under the same key may give other weights, so the cache needs the content as well.
    content = trained.require().content
    device = choose_device(backbone.device)
    with _loading:
        return _load_network(job.settings.workspace, trained.key, content, backbone.precision, device)


@lru_cache(maxsize=1)
def _load_network(
    workspace: str,
    key: str,
    content: str,  # noqa: ARG001 - the cache distinguishes trainings by it
    precision: Precision,
    device: str,
) -> DynamicClusteringNetwork:
    import torch

    from dcn.model_file import read_model

    trained = Workspace(workspace).checkpoint("train", key)
    file = trained.read_file("dcn.safetensors")
    network = read_model(file, trained.file_location("dcn.safetensors")).network
    return network.to(device, getattr(torch, precision))
