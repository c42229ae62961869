"""Pretrained CLIP models of open_clip, with weights from its hub or from a local file. No pickle is loaded.

open_clip is an optional dependency, so the functions import it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dcn.errors import UnknownModelError, WeightsUnavailableError
from dcn.weights.hub import require_hub
from dcn.weights.pretrained import read_state_dict
from dcn.weights.weights_file import check_weights_file

Tokenizer = Callable[[list[str]], Tensor]

_INSTALL = "pip install 'dynamic-clustering-network[language]'"


def create_clip(name: str, weights: Path | None) -> tuple[nn.Module, Tokenizer]:
    """Create a pretrained CLIP whose image tower is a plain ViT, and its tokenizer.

    Args:
        name: architecture and pretraining tag, such as ``ViT-B-16:openai``;
            ``open_clip.list_pretrained(as_str=True)`` lists them. The tag determines the activation and the
            normalization of photographs, for a local file as well. An architecture without a tag needs
            ``weights``.
        weights: local ``.safetensors`` or PyTorch file with open_clip's key names; None takes the hub.

    Returns:
        The model and its tokenizer.

    Raises:
        UnknownModelError: open_clip has no such model, or its image tower is not a plain ViT.
        WeightsUnavailableError: open_clip is not installed, or the weights are missing or do not fit.

    """
    try:
        import open_clip
    except ImportError as error:
        raise WeightsUnavailableError(f"a language model needs open_clip; install it: {_INSTALL}") from error

    architecture, _, tag = name.partition(":")
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise UnknownModelError(
            f"{architecture!r} is not a model of open_clip {open_clip.__version__}; "
            f"open_clip.list_models() lists its models",
            parameter="model",
        )
    if not _has_plain_towers(config):
        raise UnknownModelError(
            f"{architecture!r} has no plain ViT beside a plain text tower; MaskCLIP reads the values of the "
            f"last block of such a ViT. ViT-B-16 has one",
            parameter="model",
        )
    training = _find_training(architecture, tag)
    path = _find_file(architecture, training, weights)
    # open_clip only warns if a tag was trained with another GELU than that of the architecture.
    config["quick_gelu"] = config.get("quick_gelu", False) or training.get("quick_gelu", False)
    model: nn.Module = open_clip.CLIP(**config)
    _load(model, name, path, training)
    mean = training.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std = training.get("std", open_clip.OPENAI_DATASET_STD)
    open_clip.set_model_preprocess_cfg(model, {"mean": mean, "std": std})
    return model, _tokenizer(architecture)


def _find_training(architecture: str, tag: str) -> dict[str, Any]:
    """Look up the configuration of a training in open_clip; empty without a tag."""
    import open_clip

    training: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag)
    if tag and not training:
        raise UnknownModelError(
            f"open_clip has no training {tag!r}; {_trainings(architecture)}", parameter="model"
        )
    return training


def _trainings(architecture: str) -> str:
    import open_clip

    names = [f"{architecture}:{tag}" for tag in open_clip.list_pretrained_tags_by_model(architecture)]
    return f"its models are {' and '.join(names)}" if names else "it has no training of this architecture"


def _has_plain_towers(config: dict[str, Any]) -> bool:
    """Whether both towers are open_clip's own, and the image tower has a CLS token and no pooling."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    return (
        isinstance(vision.get("layers"), int)
        and not vision.keys() & {"timm_model_name", "attentional_pool"}
        and "hf_model_name" not in text
        and not config.keys() & {"custom_text", "multimodal_cfg"}
    )


def _find_file(architecture: str, training: dict[str, Any], weights: Path | None) -> Path:
    import open_clip

    if weights is not None:
        check_weights_file(weights)
        return weights
    if not training:
        raise WeightsUnavailableError(
            f"{architecture} is an architecture without weights. Give a file of weights, or a model of "
            f"open_clip: {_trainings(architecture)}",
            parameter="weights",
        )
    repository = training.get("hf_hub", "").rpartition("/")[0]
    try:
        if repository:
            require_hub(repository)
        return Path(open_clip.download_pretrained(training))
    except Exception as error:  # every hub client has its own errors; all mean the same to the user
        raise WeightsUnavailableError(
            f"the weights of {architecture} could not be downloaded: {_reason(error)}\n{_where(training)}",
            parameter="weights",
        ) from error


def _load(model: nn.Module, name: str, path: Path, training: dict[str, Any]) -> None:
    try:
        state = read_state_dict(path)
    except WeightsUnavailableError as error:
        # OpenAI's own files are TorchScript, which is a program. PyTorch's advice to allow it is unsafe, so
        # the message leaves it out.
        reason = str(error).partition(". ")[0]
        raise WeightsUnavailableError(f"{reason}\n{_where(training)}", parameter="weights") from error
    # The temperature scales all cosines alike, so it is not read; files hold it in two shapes.
    state["logit_scale"] = model.state_dict()["logit_scale"]
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsUnavailableError(
            f"{path} does not fit {name}: {_reason(error)}", parameter="weights"
        ) from error


def _where(training: dict[str, Any]) -> str:
    """Say which file to download by hand."""
    repository, _, file = training.get("hf_hub", "").rpartition("/")
    file = file or "open_clip_model.safetensors (or open_clip_pytorch_model.bin)"
    wanted = f"{file} of {repository}" if repository else training.get("url")
    return (
        f"Without network, download {wanted or 'a state dict of this model in .safetensors'} on another "
        f"machine and give the file as weights"
    )


def _tokenizer(architecture: str) -> Tokenizer:
    import open_clip

    tokenizer: Tokenizer
    try:
        tokenizer = open_clip.get_tokenizer(architecture)
    except Exception as error:  # some tokenizers come from a hub and need their own package
        raise WeightsUnavailableError(
            f"the tokenizer of {architecture} could not be loaded: {_reason(error)}"
        ) from error
    return tokenizer


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
