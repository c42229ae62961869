"""Settings of the frozen ViT, of the region embeddings, and of the language model."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from dcn.options import Layer, Options, PositiveInt
from dcn.weights.presets import Precision


class BackboneSettings(Options):
    """The frozen self-supervised ViT (section 4.1.2)."""

    name: str = Field(
        "dino-s8", description="Name of a preset (``dino-s8``, ``dinov2-s14``, ...) or of any ViT in timm."
    )
    weights: Path | None = Field(
        None, description="Local ``.safetensors`` or ``.pth`` file; empty: timm's hub."
    )
    input_size: PositiveInt | None = Field(
        None,
        description="Side in pixels of the square to which photographs are squashed; empty: the preset's.",
    )
    token_layer: Layer | None = Field(
        None,
        description="Block whose normalized output gives the tokens, counted from the end (-1 is the last); "
        "empty: the preset's.",
    )
    attention_block: Layer | None = Field(
        None,
        description="Block whose CLS attention gives the foreground, counted from the end (-1 is the last); "
        "empty: the preset's.",
    )
    flip: bool = Field(
        False,
        description="Average tokens and attention with those of the mirrored photograph, which takes "
        "``extract`` twice the time.",
    )
    batch_size: PositiveInt = Field(
        8, description="Number of photographs or crops in a batch; changes no result."
    )
    device: str = Field(
        "auto", description="Device of PyTorch: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."
    )
    precision: Precision = Field(
        "float32",
        description="Precision of the backbone, and of the network that segments. ``bfloat16`` is less exact "
        "and faster on processors that have units for it.",
    )


class EmbedSettings(Options):
    """Region embeddings: the CLS tokens of masked crops (section 4.1.1)."""

    layer: Layer | None = Field(
        None,
        description="Block whose normalized CLS token is the embedding, counted from the end (-1 is the "
        "last); empty: the preset's.",
    )
    size: PositiveInt | None = Field(
        None, description="Side of a masked crop in pixels; empty: the preset's."
    )


class LanguageSettings(Options):
    """Classification by a language-image model (section 4.5). Without a model there is none."""

    model: str | None = Field(
        None,
        description="Name of a ViT in open_clip and of its weights, such as ``ViT-B-16:openai``; empty: no "
        "classes from language.",
    )
    weights: Path | None = Field(None, description="Local file of the weights; empty: open_clip's hub.")
    input_size: PositiveInt = Field(
        336,
        description="Side in pixels of the square to which photographs are squashed; a multiple of the patch "
        "size.",
    )
