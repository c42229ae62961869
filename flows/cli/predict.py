"""Segmentation of single photographs with a trained model."""

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
from dcn.refinement import fine_label_map
from dcn.regions import label_map, resize_label_map
from flows.cli.output_files import output_path
from flows.errors import FlowError, name_parameters
from flows.inputs.models import choose_device
from flows.settings import SegmentSettings
from storage import Workspace
from storage.stores.files import write_atomically

_LONGEST_JPEG_SIDE = 65_500


@dataclass(frozen=True)
class Prediction:
    """The result for one photograph: its files, or the reason why there are none.

    Attributes:
        image: file of the photograph.
        labels: file of its label map, a palette PNG with ``*-overlay.jpg`` beside it; None if it was refused.
        num_regions: number of regions in the label map.
        reason: why the photograph was refused; else empty.

    """

    image: Path
    labels: Path | None = None
    num_regions: int = 0
    reason: str = ""


def predict(
    images: list[Path],
    model: Path,
    output: Path,
    weights: Path | None = None,
    device: str = "auto",
    borders: SegmentSettings | None = None,
) -> Iterator[Prediction]:
    """Segment photographs one by one with a trained model.

    Args:
        images: files of the photographs.
        model: a checkpoint of the stage ``train``, or a model file.
        output: folder of the results, created if it is missing.
        weights: local file of the backbone's weights; None takes those that the model was trained with.
        device: device of PyTorch, or ``auto``; see the setting ``backbone.device``.
        borders: settings whose ``refine`` and ``smallest_part`` apply; None takes their defaults.

    Yields:
        The result for each photograph, in order.

    Raises:
        FlowError: a result would replace one of the photographs.
        InvalidModelFileError: the model is not a trained DCN.
        CheckpointDamagedError: the model is not what the training wrote.
        WeightsUnavailableError: the weights of the backbone cannot be read.

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
    borders = borders or SegmentSettings()
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
        stored = features.tokens.half().float()  # as `extract` stores them
        tokens = network.project(stored).float()
        assignment = cosine_assignment(tokens, image_centers(network, tokens))[0]  # [n, k]
        labels = _label_map(assignment.half().cpu().numpy(), photograph, borders)
        labels_path, overlay_path = outputs[image]
        drawn = overlay(photograph, labels, region_palette())
        try:
            write_atomically(labels_path, palette_png(labels, region_palette()))
            write_atomically(overlay_path, _jpeg(drawn))
        except OSError as error:
            yield Prediction(image, reason=f"its result cannot be written: {error.strerror}")
            continue
        yield Prediction(image, labels_path, len(np.unique(labels)))


def _label_map(
    assignment: npt.NDArray[np.float16], photograph: npt.NDArray[np.uint8], borders: SegmentSettings
) -> npt.NDArray[np.uint8]:
    """Compute the region of every pixel ``[H, W]`` as the stage ``segment`` does."""
    height, width = photograph.shape[:2]
    if not borders.stores_labels:
        return label_map(assignment, height, width)
    labels = fine_label_map(assignment, photograph if borders.refine else None, borders.smallest_part)
    return resize_label_map(labels, height, width)


def _load(model: Path) -> tuple[DynamicClusteringNetwork, ModelDescription]:
    """Load the model of a checkpoint, checked by its digest, or of a file, which has no digest."""
    if not model.is_dir():
        return load_model(model)
    path = model.resolve()
    try:
        checkpoint = Workspace(path.parent.parent).checkpoint(path.parent.name, path.name)
        known = checkpoint.read_manifest() is not None and checkpoint.has_file("dcn.safetensors")
    except ValueError:  # the folder is a copy of a checkpoint under another name
        known = False
    if known:
        return read_model(
            checkpoint.read_file("dcn.safetensors"), checkpoint.file_location("dcn.safetensors")
        )
    inside = [path / "files" / "dcn.safetensors", path / "dcn.safetensors"]
    return load_model(next((file for file in inside if file.is_file()), inside[0]))


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture ``[H, W, 3]`` as JPEG. It is made smaller if it exceeds the sides of JPEG."""
    image = Image.fromarray(picture)
    image.thumbnail((_LONGEST_JPEG_SIDE, _LONGEST_JPEG_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def result_paths(images: list[Path], output: Path) -> dict[Path, tuple[Path, Path]]:
    """Choose the files of the results: label map and overlay of each photograph.

    Their names are the stem of the photograph, with a number if photographs share the stem. Stems that
    differ only in case count as shared, because some file systems ignore case.

    Args:
        images: files of the photographs.
        output: folder of the results.

    Raises:
        FlowError: a photograph has a name that the result's file cannot have.

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
