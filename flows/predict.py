"""Segmenting photographs that are in no data set, with a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcn.backbone import Backbone, squash
from dcn.errors import InvalidPhotographError
from dcn.model_file import load_model
from dcn.modularity import cosine_assignment
from dcn.network import image_centers
from dcn.palette import overlay, region_palette, save_palette_png
from dcn.photograph import decode_photograph
from dcn.regions import label_map
from flows.errors import FlowError
from flows.inputs import choose_device


@dataclass(frozen=True)
class Prediction:
    """Where the label map of a photograph is, or why there is none.

    Attributes:
        image: the photograph.
        labels: its label map, a palette PNG; beside it, ``*-overlay.jpg``.
        num_regions: regions in it.
        reason: why it was refused; empty otherwise.

    """

    image: Path
    labels: Path | None = None
    num_regions: int = 0
    reason: str = ""


def predict(
    images: list[Path], model: Path, output: Path, weights: Path | None = None, device: str = "auto"
) -> Iterator[Prediction]:
    """Segment photographs one by one.

    Args:
        images: files.
        model: a ``train`` checkpoint or a model file.
        output: folder; made where it is missing.
        weights: of the backbone; None takes those that the model was trained with.
        device: see ``backbone.device``.

    Raises:
        FlowError: a result would replace one of the photographs.
        InvalidModelFileError: the model is none.
        WeightsUnavailableError: of its backbone.

    """
    names = _output_names(images)
    photographs = {image.resolve() for image in images}
    for image, name in names.items():
        for path in (output / f"{name}.png", output / f"{name}-overlay.jpg"):
            if path.resolve() in photographs:
                raise FlowError(
                    f"the result of {image} would replace the photograph {path}; choose another --output"
                )
    if model.is_dir():
        inside = [model / "files" / "dcn.safetensors", model / "dcn.safetensors"]
        model = next((path for path in inside if path.is_file()), inside[0])
    network, description = load_model(model)
    device = choose_device(device)
    trained = description.backbone
    precision = trained.get("precision", "float32")
    network = network.to(device, getattr(torch, precision))
    local = weights or (Path(trained["weights"]) if trained["weights"] else None)
    backbone, _ = Backbone.from_preset(trained["name"], local, device, precision)
    for image in images:
        try:
            photograph = decode_photograph(image.read_bytes())
        except (InvalidPhotographError, OSError) as error:
            yield Prediction(
                image, reason=(error.strerror if isinstance(error, OSError) else None) or str(error)
            )
            continue
        inputs = backbone.preprocess(squash(photograph, trained["input_size"])[None])
        features = backbone.features(inputs, trained["token_layer"], trained["attention_block"])
        tokens = features.tokens.float()
        assignment = cosine_assignment(tokens, image_centers(network, tokens))[0]  # [n, k]
        labels = label_map(assignment.half().cpu().numpy(), *photograph.shape[:2])
        path = output / f"{names[image]}.png"
        save_palette_png(labels, region_palette(), path)
        drawn = overlay(photograph, labels, region_palette())
        Image.fromarray(drawn).save(output / f"{names[image]}-overlay.jpg", quality=90)
        yield Prediction(image, path, len(np.unique(labels)))


def _output_names(images: list[Path]) -> dict[Path, str]:
    """A name for each photograph: its stem, or with a number where two photographs share it."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for image in images:
        name, number = image.stem, 1
        while name in taken and image not in names:
            number += 1
            name = f"{image.stem}-{number}"
        names.setdefault(image, name)
        taken.add(names[image])
    return names
