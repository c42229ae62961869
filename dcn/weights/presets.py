"""Backbones with a short name, and the defaults that measurements chose for them.

A new backbone is one entry in :data:`PRESETS`. Layers count from the end: -1 is the last block.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from dcn.did_you_mean import did_you_mean
from dcn.errors import UnknownModelError
from dcn.weights.timm_vits import timm_vits

AttentionReduction = Literal["max", "mean", "min"]
RegionScore = Literal["sum", "mean"]
ForegroundSplit = Literal["two-means", "average"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Preset:
    """A backbone and its default settings. The defaults of this class are those of the paper.

    Attributes:
        timm_name: name of the model in timm.
        input_size: side in pixels of the square that a photograph is resized to for its tokens
            (section 4.1.2: 224).
        token_layer: block whose normalized output gives the tokens.
        attention_block: block whose CLS attention decides what is foreground.
        attention_reduction: how the attention heads become one value per pixel.
        region_score: how the attention values of the pixels in a region become its foreground score.
        foreground_split: how the scores divide the regions of an image into foreground and background.
        embedding_layer: block whose normalized CLS token is the embedding of a masked crop.
        embedding_size: side in pixels of a masked crop (section 4.1.2: 224).
        weights_file: name of the weights file that the authors publish, for error messages.
        packaged: whether the weights come from an installed Python package instead of timm's hub.

    """

    timm_name: str
    input_size: int = 224
    token_layer: int = -1
    attention_block: int = -1
    attention_reduction: AttentionReduction = "max"
    region_score: RegionScore = "sum"
    foreground_split: ForegroundSplit = "two-means"
    embedding_layer: int = -1
    embedding_size: int = 224
    weights_file: str | None = None
    packaged: bool = False


PRESETS: dict[str, Preset] = {
    "dino-s8": Preset("vit_small_patch8_224.dino", weights_file="dino_deitsmall8_pretrain.pth"),
    "dino-s16": Preset("vit_small_patch16_224.dino", weights_file="dino_deitsmall16_pretrain.pth"),
    "dino-b8": Preset("vit_base_patch8_224.dino", weights_file="dino_vitbase8_pretrain.pth"),
    "dinov2-s14": Preset("vit_small_patch14_dinov2.lvd142m", weights_file="dinov2_vits14_pretrain.pth"),
    "dinov2-s14-reg": Preset(
        "vit_small_patch14_reg4_dinov2.lvd142m", weights_file="dinov2_vits14_reg4_pretrain.pth"
    ),
    "dinov3-s16": Preset(
        "vit_small_patch16_dinov3.lvd1689m", weights_file="dinov3_vits16_pretrain_lvd1689m-08c60483.pth"
    ),
    # A DINOv2 ViT-S/14 fine-tuned for saliency, with measured defaults (docs/reference/focus-s14.md).
    "focus-s14": Preset(
        "vit_small_patch14_dinov2",
        input_size=392,
        attention_reduction="mean",
        region_score="mean",
        foreground_split="average",
        embedding_layer=-3,
        packaged=True,
    ),
}


def find_preset(name: str) -> Preset:
    """Find the preset called ``name``; any other ViT of timm gets a preset with the paper's defaults.

    Raises:
        UnknownModelError: neither this table nor timm has a ViT of this name.

    Example:
        >>> find_preset("dino-s8").timm_name
        'vit_small_patch8_224.dino'

    """
    if name in PRESETS:
        return PRESETS[name]
    architecture, _, tag = name.partition(".")
    vits = timm_vits()
    if name in vits:
        return Preset(name)
    if architecture in vits:
        known = sorted(vit for vit in vits if vit.startswith(f"{architecture}.")) or _pretrained(architecture)
        if name in known:
            return Preset(name)
        raise UnknownModelError(
            f"backbone {name!r}: timm has no weights {tag!r} for it, only {', '.join(known) or 'none'}",
            parameter="name",
        )
    raise UnknownModelError(
        f"backbone {name!r} is neither a preset ({', '.join(PRESETS)}) nor a ViT with a CLS token in timm "
        f"{version('timm')}, whose names timm.list_models('vit*') lists"
        f"{did_you_mean(name, [*PRESETS, *sorted(vits)])}",
        parameter="name",
    )


def _pretrained(architecture: str) -> list[str]:
    """Ask timm for the weights of an architecture. Its source says those of most."""
    import timm

    found: list[str] = timm.list_models(f"{architecture}.*", pretrained=True)
    return found
