"""Segmenting photographs that are in no data set, with a trained model."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from dcn.backbone import Backbone
from dcn.errors import InvalidPhotographError
from dcn.images.files import read_file
from dcn.images.palette import overlay, palette_png, region_palette
from dcn.images.photograph import decode_photograph, squash
from dcn.model_file import ModelDescription, load_model, read_model
from dcn.modularity import cosine_assignment
from dcn.network import DynamicClusteringNetwork, image_centers
from dcn.regions import label_map
from flows.cli.output_files import output_path
from flows.errors import FlowError, name_parameters
from flows.inputs.models import choose_device
from storage import Workspace
from storage.stores.files import write_atomically

_LONGEST_JPEG_SIDE = 65_500


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
        CheckpointDamagedError: it is not what was written.
        WeightsUnavailableError: of its backbone.

    """
    outputs = result_paths(images, output)
    photographs = {os.path.realpath(image) for image in images}
    for image, paths in outputs.items():
        for path in paths:
            if os.path.realpath(path) in photographs:
                raise FlowError(
                    f"the result of {image} would replace the photograph {path}; choose another --output"
                )
    network, description = _load(model)
    device = choose_device(device)
    trained = description.backbone
    precision = trained.get("precision", "float32")
    network = network.to(device, getattr(torch, precision))
    local = weights or (Path(trained["weights"]) if trained["weights"] else None)
    with name_parameters("option --{}"):
        backbone, _ = Backbone.from_preset(trained["name"], local, device, precision)
    for image in images:
        try:
            photograph = decode_photograph(read_file(image))
        except OSError as error:
            yield Prediction(image, reason=error.strerror or str(error))
            continue
        except InvalidPhotographError as error:
            yield Prediction(image, reason=str(error))
            continue
        inputs = backbone.preprocess(squash(photograph, trained["input_size"])[None])
        features = backbone.features(inputs, trained["token_layer"], trained["attention_block"])
        tokens = features.tokens.float()
        assignment = cosine_assignment(tokens, image_centers(network, tokens))[0]  # [n, k]
        labels = label_map(assignment.half().cpu().numpy(), *photograph.shape[:2])
        labels_path, overlay_path = outputs[image]
        drawn = overlay(photograph, labels, region_palette())
        try:
            write_atomically(labels_path, palette_png(labels, region_palette()))
            write_atomically(overlay_path, _jpeg(drawn))
        except OSError as error:
            yield Prediction(image, reason=f"its result cannot be written: {error.strerror}")
            continue
        yield Prediction(image, labels_path, len(np.unique(labels)))


def _load(model: Path) -> tuple[DynamicClusteringNetwork, ModelDescription]:
    """The model of a checkpoint, compared with its digest, or that of a file, which has none."""
    if not model.is_dir():
        return load_model(model)
    path = model.resolve()
    try:
        checkpoint = Workspace(path.parent.parent).checkpoint(path.parent.name, path.name)
        known = checkpoint.read_manifest() is not None and checkpoint.has_file("dcn.safetensors")
    except ValueError:  # a copy under another name
        known = False
    if known:
        return read_model(
            checkpoint.read_file("dcn.safetensors"), checkpoint.file_location("dcn.safetensors")
        )
    inside = [path / "files" / "dcn.safetensors", path / "dcn.safetensors"]
    return load_model(next((file for file in inside if file.is_file()), inside[0]))


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """A picture ``[H, W, 3]`` as JPEG, made smaller where JPEG has no such size."""
    image = Image.fromarray(picture)
    image.thumbnail((_LONGEST_JPEG_SIDE, _LONGEST_JPEG_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def result_paths(images: list[Path], output: Path) -> dict[Path, tuple[Path, Path]]:
    """Label map and overlay of each photograph, in ``output``.

    They are called by its stem, with a number where two photographs share it. Names that differ in nothing
    but case are shared, too: on some file systems they are the same file.

    Raises:
        FlowError: a photograph has a name that no file can have.

    """
    paths: dict[Path, tuple[Path, Path]] = {}
    taken: set[str] = set()
    for image in dict.fromkeys(images):
        name, number = image.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{image.stem}-{number}"
        taken.add(name.casefold())
        paths[image] = output_path(output, name, ".png"), output_path(output, name, "-overlay.jpg")
    return paths
