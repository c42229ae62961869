"""Settings of the frozen ViT, of the region embeddings, and of the language model."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from dcn.options import Layer, Options, PositiveInt
from dcn.weights.presets import Precision


class BackboneSettings(Options):
    """The frozen self-supervised ViT (section 4.1.2)."""

    name: str = Field("dino-s8", description="a preset (dino-s8, dinov2-s14, ...) or any ViT of timm")
    weights: Path | None = Field(None, description="a local .safetensors or .pth instead of timm's hub")
    input_size: PositiveInt | None = Field(
        None, description="photographs are squashed to this square, in pixels"
    )
    token_layer: Layer | None = None
    attention_block: Layer | None = None
    batch_size: PositiveInt = Field(8, description="photographs or crops at once; does not change results")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Precision = Field(
        "float32",
        description="of the backbone, and of the network that segments; bfloat16 is faster where the "
        "processor has units for it, and less exact",
    )


class EmbedSettings(Options):
    """Region embeddings: the CLS tokens of masked crops (section 4.1.1)."""

    layer: Layer | None = None
    size: PositiveInt | None = Field(None, description="side of a masked crop in pixels")


class LanguageSettings(Options):
    """Classification by a language-image model (section 4.5). Without a model there is none."""

    model: str | None = Field(None, description="a ViT of open_clip, as ViT-B-16:openai; empty: no language")
    weights: Path | None = Field(None, description="a local file instead of open_clip's hub")
    input_size: PositiveInt = Field(
        336, description="photographs are squashed to this square, in pixels; the patches must divide it"
    )
