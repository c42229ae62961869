"""ViT-S/8 at 224 pixels: timm's forward pass against ``Backbone.features`` and ``Backbone.embed``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import timm
import torch
from timm.models import VisionTransformer

from benchmarks.gpu.measurement import Measured, forget_peak, median_seconds, peak_gigabytes
from benchmarks.gpu.scale import Scale
from dcn.backbone import Backbone
from dcn.weights.presets import Precision

MODEL, INPUT_SIZE = "vit_small_patch8_224.dino", 224
_REPEATS = 5


def measure(scale: Scale) -> Iterator[Measured]:
    """Photographs and tokens per second and peak memory, a row for each precision and each batch."""
    arithmetic: tuple[tuple[Precision, str], ...]
    arithmetic = (("float32", "highest"), ("float32", "high"), ("bfloat16", "highest"))
    for precision, matmul in arithmetic:
        name = "TF32" if matmul == "high" else precision
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(matmul)
        try:
            backbone = _make_backbone(scale, precision)
            for batch in scale.batches:
                yield _row(scale, backbone, name, batch)
        finally:
            torch.set_float32_matmul_precision(before)


def _make_backbone(scale: Scale, precision: Precision) -> Backbone:
    torch.manual_seed(0)
    model = timm.create_model(MODEL, pretrained=False, num_classes=0, dynamic_img_size=True)
    assert isinstance(model, VisionTransformer)
    return Backbone(model, scale.device, precision)


def _row(scale: Scale, backbone: Backbone, name: str, batch: int) -> Measured:
    dtype = next(backbone.model.parameters()).dtype
    inputs = torch.randn(batch, 3, INPUT_SIZE, INPUT_SIZE, device=scale.device, dtype=dtype)
    repeats = min(_REPEATS, scale.repeats)
    forward_features: Any = backbone.model.forward_features
    with torch.inference_mode():
        eager = median_seconds(partial(forward_features, inputs), repeats, scale.device)
    forget_peak(scale.device)
    features = median_seconds(partial(backbone.features, inputs), repeats, scale.device)
    gigabytes = peak_gigabytes(scale.device)
    embed = median_seconds(partial(backbone.embed, inputs), repeats, scale.device)
    return {
        "what": f"ViT-S/8 at {INPUT_SIZE}, {name}, batch {batch}",
        "images/s timm": batch / eager,
        "images/s features": batch / features,
        "images/s embed": batch / embed,
        "features of timm": eager / features,
        "embed of timm": eager / embed,
        "tokens/s features": batch * backbone.grid(INPUT_SIZE) ** 2 / features,
        "GB": gigabytes,
    }
