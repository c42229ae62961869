"""Classes of photographs by the head of a model, against the backbone alone, and against classes by crops.

    python -m benchmarks.classes [--images 8] [--pairs 3] [--json FILE]

The paper's shape: ViT-S/8 at 224 pixels, photographs of 500 x 375 in memory, at most five regions, 20
clusters. The first row compares a model with a head with timm's forward pass of the same photographs. The
second compares it with the same model without a head, which embeds a crop of every foreground region.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.pairs import measure_pairs
from benchmarks.photographs import BACKBONE, make_settings, timms_model
from benchmarks.row import Row
from benchmarks.stage_command import run_command
from dcn.backbone import Backbone
from dcn.class_head import ClassHead
from dcn.class_names import cluster_names, name_classes
from dcn.images.photograph import decode_photograph, squash
from dcn.model import BATCH, Model
from dcn.model_description import (
    BackboneDescription,
    ClassDescription,
    HeadDescription,
    ModelDescription,
)
from dcn.model_file import StoredModel
from dcn.network import DynamicClusteringNetwork
from dcn.prototypes import start_from_kmeans
from dcn.weights.presets import Precision

_CLUSTERS = 20


def measure(folder: Path, images: int, pairs: int, precision: Precision) -> list[Row]:
    """Photographs in memory in, the class of every pixel out."""
    settings = make_settings(folder, images, precision)
    files = sorted((folder / f"photographs-{images}").iterdir())
    photographs = [decode_photograph(file.read_bytes()) for file in files]
    weights = settings.backbone.weights
    assert weights is not None
    by_crops, by_head = make_models(weights, photographs, precision)
    backbone = by_head.backbone
    batches = [
        backbone.preprocess(np.stack([by_head.squash(one) for one in photographs[start : start + BATCH]]))
        for start in range(0, images, BATCH)
    ]

    model = timms_model(settings)

    @torch.inference_mode()
    def forward_pass() -> None:
        for batch in batches:
            model(batch)

    def classify(model: Model) -> None:
        for result in model.segment_all(photographs):
            assert result.semantic is not None

    rows = []
    for reference, against, goal in (
        (forward_pass, "timm's forward pass alone", 0.9),
        (lambda: classify(by_crops), "classes by crops", 2.0),
    ):
        ratio, details = measure_pairs(reference, lambda: classify(by_head), pairs)
        details["images per second with the head"] = images / details["seconds of the candidate"]
        details["images per second of the reference"] = images / details["seconds of the reference"]
        rows.append(
            Row(f"classes, {precision}", against, ratio, "of its images per second", goal, details=details)
        )
    return rows


def make_models(
    weights: Path, photographs: list[npt.NDArray[np.uint8]], precision: Precision
) -> tuple[Model, Model]:
    """The same model with classes by crops, and with a head; network and head are as they start."""
    backbone, preset = Backbone.from_preset(BACKBONE, weights, "cpu", precision)
    inputs = backbone.preprocess(np.stack([squash(one, preset.input_size) for one in photographs[:BATCH]]))
    tokens = backbone.features(inputs, preset.token_layer).tokens.flatten(0, 1)  # [B * n, d]
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"dim": backbone.dim, "whitened_dims": 128}
    network = DynamicClusteringNetwork(**arguments)
    assert network.whitening is not None
    network.whitening.fit(tokens)
    start_from_kmeans(network, network.project(tokens), 0)
    of_head = HeadDescription(layers=(-3, -1), depth=2, matched=tuple(range(_CLUSTERS + 1)))
    description = ModelDescription(
        network=arguments,
        backbone=BackboneDescription(
            name=BACKBONE,
            input_size=preset.input_size,
            token_layer=preset.token_layer,
            attention_block=preset.attention_block,
            precision=precision,
        ),
        classes=ClassDescription(
            matched=tuple(range(_CLUSTERS + 1)), named=name_classes(cluster_names(_CLUSTERS), {})
        ),
    )
    centers = np.random.default_rng(0).normal(size=(_CLUSTERS, backbone.dim)).astype(np.float32)
    by_crops = StoredModel(network.eval().requires_grad_(False), description, centers)
    by_head = replace(
        by_crops,
        description=description.model_copy(update={"head": of_head}),
        head=ClassHead(backbone.dim, of_head).eval().requires_grad_(False),
    )
    return Model(by_crops, device="cpu", backbone=backbone), Model(by_head, device="cpu", backbone=backbone)


if __name__ == "__main__":
    run_command(__doc__, measure, images=8, pairs=3)
