"""``dcn predict`` of a folder, with a model that is loaded, against timm's forward pass alone.

    python -m benchmarks.predict [--images 64] [--pairs 3] [--json FILE]

The paper's shape: ViT-S/8 at 224 pixels, at most five regions, JPEG files of 500 x 375. Everything that the
command does for a photograph counts: decoding, regions with refined borders, label maps as PNG, overlays as
JPEG, and the tables at the end. The second row is that of a model with a head, which gives classes too.
"""

from __future__ import annotations

import shutil
from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.classes import make_models
from benchmarks.pairs import measure_pairs
from benchmarks.photographs import make_settings, timms_model
from benchmarks.row import Row
from benchmarks.stage_command import run_command
from dcn.images.photograph import decode_photograph
from dcn.model import BATCH, Model
from dcn.model_file import StoredModel
from dcn.weights.presets import Precision
from flows.cli.predict import predict
from flows.inputs.given_files import find_photographs


def measure(folder: Path, images: int, pairs: int, precision: Precision) -> list[Row]:
    """JPEG files in, label maps, overlays and tables out."""
    settings = make_settings(folder, images, precision)
    files = find_photographs([str(folder / f"photographs-{images}")]).files
    weights, output = settings.backbone.weights, folder / "predicted"
    assert weights is not None
    photographs = [decode_photograph(file.path.read_bytes()) for file in files[:BATCH]]
    _, by_head = make_models(weights, photographs, precision)
    inputs = by_head.backbone.preprocess(np.stack([by_head.squash(photograph) for photograph in photographs]))
    reference = timms_model(settings)

    @torch.inference_mode()
    def forward_pass(count: int) -> None:
        for _ in range(0, count, BATCH):
            reference(inputs)

    def predict_some(model: Model, count: int) -> None:
        deque(predict(files[:count], model, output), maxlen=0)

    def one_batch(model: Model) -> None:
        forward_pass(BATCH)
        predict_some(model, BATCH)

    rows = []
    for what, model in (("predict", _without_classes(by_head)), ("predict with a head", by_head)):
        ratio, details = measure_pairs(
            partial(forward_pass, images),
            partial(predict_some, model, images),
            pairs,
            before=lambda: shutil.rmtree(output, ignore_errors=True),
            warm_up=partial(one_batch, model),
        )
        details["images per second"] = images / details["seconds of the candidate"]
        unit = "of its images per second"
        rows.append(
            Row(f"{what}, {precision}", "timm's forward pass alone", ratio, unit, 0.9, details=details)
        )
    return rows


def _without_classes(model: Model) -> Model:
    """The same network and backbone, which find regions only."""
    description = model.stored.description.model_copy(update={"classes": None, "head": None})
    return Model(StoredModel(model.stored.network, description), device="cpu", backbone=model.backbone)


if __name__ == "__main__":
    run_command(__doc__, measure, images=64, pairs=3)
