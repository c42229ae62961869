"""Settings of the frozen ViT, of the region embeddings, and of the language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from dcn.embedding_sources import Source
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


def _as_list(sources: Any) -> Any:
    return [sources] if isinstance(sources, str) else sources


def _check_sources(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    twice = sorted({source for source in sources if sources.count(source) > 1})
    if twice:
        raise ValueError(f"{twice[0]} stands there twice; name each source once")
    return sources


class EmbedSettings(Options):
    """Region embeddings: by default the CLS tokens of masked crops (section 4.1.1)."""

    source: Annotated[
        tuple[Source, ...],
        BeforeValidator(_as_list, json_schema_input_type=Source | tuple[Source, ...]),
        AfterValidator(_check_sources),
    ] = Field(
        ("crop",),
        min_length=1,
        description="What an embedding is made of: a crop in which all but the region is masked (``crop``, "
        "as in the paper), the same crop unmasked (``crop-unmasked``), a wider crop (``crop-context``), or "
        "the mean of the photograph's own tokens in the region (``tokens``). The embeddings of a list are "
        "joined.",
    )
    layer: Layer | None = Field(
        None,
        description="Block whose normalized CLS token is the embedding of a crop, counted from the end (-1 "
        "is the last); empty: the preset's.",
    )
    size: PositiveInt | None = Field(None, description="Side of a crop in pixels; empty: the preset's.")
    token_layer: Layer | None = Field(
        None,
        description="Block whose tokens the source ``tokens`` averages, counted from the end (-1 is the "
        "last); empty: ``backbone.token_layer``, whose tokens are cached. Another block costs a forward pass "
        "for each photograph.",
    )
    drop_masked: bool = Field(
        False,
        description="Give the ViT only those patches of a masked crop that touch the region. This is faster, "
        "and the embeddings are others.",
    )
    whiten: bool | PositiveInt = Field(
        False,
        description="Whiten the embeddings before they are classified: ``true``, or the number of directions "
        "to keep. The statistics are those of the foreground regions of the training split; no label is "
        "used.",
    )


class LanguageSettings(Options):
    """Classes and names by a language-image model (section 4.5). Without a model there are none."""

    model: str | None = Field(
        None,
        description="Name of a ViT in open_clip and of its weights, such as ``ViT-B-16:openai``; empty: no "
        "classes from language. A data set without classes has none either, but ``dcn name`` names its "
        "clusters.",
    )
    weights: Path | None = Field(None, description="Local file of the weights; empty: open_clip's hub.")
    input_size: PositiveInt = Field(
        336,
        description="Side in pixels of the square to which photographs are squashed; a multiple of the patch "
        "size.",
    )
