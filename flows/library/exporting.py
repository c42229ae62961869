"""Writing a model to a folder, in the formats that ``dcn export-model`` offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dcn.errors import InvalidOptionError
from dcn.model import MODEL_FILE, Model


def write_safetensors(model: Model, folder: Path) -> Iterator[str]:
    """Write ``model.safetensors``, ``config.json`` and a model card. Yields a line on each result."""
    model.save_pretrained(folder)
    size = (folder / MODEL_FILE).stat().st_size
    classes = "no classes" if model.class_centers is None else f"{len(model.class_centers.names)} classes"
    yield f"{folder / MODEL_FILE}: the whole model, {size / 1e6:.1f} MB, {classes}"
    yield f'dcn.load("{folder}") opens it; config.json and README.md are for the Hugging Face Hub'


def write_onnx(model: Model, folder: Path) -> Iterator[str]:
    """Write ``network.onnx``, and ``model.onnx`` if PyTorch can export the backbone. Yields lines as well."""
    from dcn.onnx_graphs import write_both, write_network

    folder.mkdir(parents=True, exist_ok=True)
    write_network(model, folder / "network.onnx")
    yield f"{folder / 'network.onnx'}: tokens [B, n, d] to assignment [B, n, k]"
    size, name = model.stored.description.backbone.input_size, model.stored.description.backbone.name
    try:
        write_both(model, folder / "model.onnx")
    except InvalidOptionError as error:
        yield f"no model.onnx: {error}"
    else:
        yield (
            f"{folder / 'model.onnx'}: photographs [B, {size}, {size}, 3] uint8 to assignment [B, n, k] and "
            f"attention [B, h, n], with the backbone {name}"
        )


EXPORTS: dict[str, Callable[[Model, Path], Iterator[str]]] = {
    "safetensors": write_safetensors,
    "onnx": write_onnx,
}
