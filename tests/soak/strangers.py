"""Everything that reads bytes of strangers, each with good examples and with the errors that it may raise."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image, features
from safetensors.torch import save
from scipy.io import savemat

from dcn.class_names import cluster_names, name_classes, read_names
from dcn.datasets import BSDS500Dataset, FolderDataset, Item, VOC2012Dataset
from dcn.errors import (
    InvalidClassNamesError,
    InvalidDatasetError,
    InvalidMaskError,
    InvalidModelFileError,
    InvalidPhotographError,
    WeightsUnavailableError,
)
from dcn.images.mask_values import MaskValues, value_code
from dcn.images.photograph import decode_mask, decode_photograph
from dcn.model_description import BackboneDescription, ClassDescription, ModelDescription
from dcn.model_file import model_bytes, read_model
from dcn.network import DynamicClusteringNetwork
from dcn.weights.pretrained import read_state_dict
from flows.errors import InvalidSettingsError
from flows.settings import loading
from flows.settings.loading import load_settings
from storage import ArraySpec, Checkpoint, Manifest, StorageError, Workspace
from storage.key import content_key
from tests.conftest import draw_scene
from tests.dcn.images.camera_files import dng

KEY = "0" * 32
COLORS = MaskValues({value_code(text): label for text, label in {"0 0 0": 0, "220 40 30": 1}.items()})


@dataclass(frozen=True)
class Reader:
    """A function that reads bytes of strangers.

    Attributes:
        read: reads the bytes, in a folder of its own.
        allowed: the errors that a user sees as a sentence; every other one is a bug.
        examples: good content.

    """

    read: Callable[[bytes, Path], object]
    allowed: tuple[type[Exception], ...]
    examples: tuple[bytes, ...]


def pictures() -> tuple[bytes, ...]:
    """One small picture in every format and mode that is decoded."""
    image = Image.fromarray(draw_scene(1)[0]).resize((24, 16))
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("PNG", "P", {"transparency": 0}), ("PNG", "1", {}),
        ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {}), ("JPEG", "L", {}), ("GIF", "P", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("TIFF", "I;16", {}), ("TIFF", "L", {"compression": "jpeg"}),
        ("HEIF", "RGB", {}), ("BMP", "RGB", {}), ("PPM", "RGB", {}), ("WEBP", "RGBA", {}), ("JPEG2000", "RGB", {}),
    ]  # fmt: skip
    kinds += [("AVIF", "RGB", {})] if features.check("avif") else []
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for kind, mode, options in kinds:
        buffer = io.BytesIO()
        exact = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
        if kind in ("PNG", "JPEG", "WEBP"):
            options = {**options, "exif": exif}  # noqa: PLW2901
        exact.save(buffer, format=kind, **options)
        found.append(buffer.getvalue())
    return tuple(found)


def colored() -> bytes:
    """A mask of the two colors that have names."""
    pixels = np.array([[0, 0, 0], [220, 40, 30]], dtype=np.uint8)[draw_scene(0)[1]]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def weights() -> tuple[bytes, ...]:
    state = {"cls_token": torch.zeros(1, 1, 6), "norm.weight": torch.ones(6, dtype=torch.float16)}
    found = [save(state, {"format": "pt"})]
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        for content in (
            state,
            {"teacher": state, "epoch": 3, "optimizer": {"lr": 1e-3, "betas": (0.9, 0.99)}},
        ):
            buffer = io.BytesIO()
            torch.save(content, buffer, **options)
            found.append(buffer.getvalue())
    return tuple(found)


def model() -> bytes:
    arguments: dict[str, Any] = {"dim": 8, "num_prototypes": 2, "num_stages": 1}
    described = ModelDescription(
        network=arguments,
        backbone=BackboneDescription(name="dino-s8", input_size=224, token_layer=-1, attention_block=-1),
        classes=ClassDescription(matched=(0, 1, 2), named=name_classes(cluster_names(2), {1: "cat"})),
    )
    weights = DynamicClusteringNetwork(**arguments).state_dict()
    return model_bytes(weights, described, np.eye(2, 6, dtype=np.float32))


def segmentations() -> bytes:
    cells = np.empty((1, 2), dtype=object)
    for i in range(2):
        cells[0, i] = {"Segmentation": np.full((5, 7), i + 1, dtype=np.uint16)}
    buffer = io.BytesIO()
    savemat(buffer, {"groundTruth": cells}, do_compression=True)
    return buffer.getvalue()


def checkpoint(folder: Path) -> Checkpoint:
    return Workspace(folder / "w").checkpoint("extract", KEY)


def stored() -> tuple[bytes, bytes]:
    """The manifest of a checkpoint, and a record of it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = checkpoint(Path(folder))
        manifest = Manifest("extract", KEY, {}, {}, 2, 2, (ArraySpec("tokens", (3,), "float16", ("patch",)),))
        made.begin(manifest)
        made.write_shard(manifest, 0, {"tokens": np.zeros((2, 3), np.float16)}, {"refused": []}, 0.1)
        root = Path(made.location)
        return (root / "manifest.json").read_bytes(), (root / "shards" / "000000.json").read_bytes()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read_manifest(content: bytes, folder: Path) -> object:
    found = checkpoint(folder)
    put(Path(found.location) / "manifest.json", content)
    return found.read_manifest()


def read_record(content: bytes, folder: Path) -> object:
    found = checkpoint(folder)
    put(Path(found.location) / "shards" / "000000.json", content)
    return found.read_record(0)


def read_classes(content: bytes, folder: Path) -> object:
    return FolderDataset(folder, classes=put(folder / "classes.txt", content)).class_names


def read_list(content: bytes, folder: Path) -> object:
    put(folder / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", content)
    return list(VOC2012Dataset(folder, "train", "val")._read_list("val").items())


def read_annotations(content: bytes, folder: Path) -> object:
    put(folder / "BSR/BSDS500/data/groundTruth/test/a.mat", content)
    return BSDS500Dataset(folder).read_segmentations(Item("test/a", "a.jpg", None, ()), 5, 7)


def configurations() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(loading._CONFIGS.glob("*.yaml")))


def readers() -> dict[str, Reader]:
    """All readers by name."""
    images, (manifest, record) = pictures(), stored()
    return {
        "photograph": Reader(
            lambda content, _: decode_photograph(content), (InvalidPhotographError,), (*images, dng())
        ),
        "mask": Reader(lambda content, _: decode_mask(content), (InvalidMaskError,), images),
        "colored mask": Reader(
            lambda content, _: decode_mask(content, COLORS), (InvalidMaskError,), (colored(), *images[:2])
        ),
        "weights": Reader(
            lambda content, folder: read_state_dict(put(folder / "x.pth", content)),
            (WeightsUnavailableError,),
            weights(),
        ),
        "model": Reader(lambda content, _: read_model(content, "x"), (InvalidModelFileError,), (model(),)),
        "manifest": Reader(read_manifest, (StorageError,), (manifest,)),
        "record": Reader(read_record, (StorageError,), (record,)),
        "configuration": Reader(
            lambda content, folder: load_settings(put(folder / "c.yaml", content)),
            (InvalidSettingsError,),
            configurations(),
        ),
        "classes": Reader(
            read_classes, (InvalidDatasetError,), (b"ground\ncat\n", "\ufeffGrund\r\nKätzchen\r\n".encode())
        ),
        "names": Reader(
            lambda content, folder: read_names(put(folder / "names.yaml", content)),
            (InvalidClassNamesError,),
            (b"1: cat\n2: tree # two\n5: cat\n", b'{"1": "K\\u00e4tzchen", "3": "no"}'),
        ),
        "list": Reader(
            read_list,
            (InvalidDatasetError,),
            (b"2007_000032\n2007_000039\n", b"/JPEGImages/a.jpg /SegmentationClass/a.png\r\n"),
        ),
        "annotations": Reader(read_annotations, (InvalidMaskError,), (segmentations(),)),
    }


# Numbers at which readers break.
EDGES = tuple(
    value.to_bytes(size, order, signed=value < 0)
    for size in (1, 2, 4, 8)
    for value in (0, 1, -1, 127, 2 ** (8 * size - 1) - 1, 2 ** (8 * size) - 1)
    for order in ("little", "big")
)


@st.composite
def mutated(draw: st.DrawFn, examples: tuple[bytes, ...]) -> bytes:
    """Bytes that are nearly those of a good example: spans are changed, lost, repeated, or put in."""
    content = bytearray(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from((1, 1, 2, 4, 8, 32, 1 << 16)))
        piece = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(EDGES),
                st.just(bytes(content[start : start + length])).map(lambda span: span * 3),
                st.sampled_from(
                    (b"", b"\0" * 64, b"\xff" * 64, b"[" * 64, b"{", b'"', b": ", b"\n", b"\t", b"&a *a")
                ),
            )
        )
        content[start : start + length * draw(st.booleans())] = piece
    return bytes(content)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def resealed(draw: st.DrawFn, example: bytes) -> bytes:
    """JSON of a checkpoint with other values, and with the digest of them: anybody can compute it."""
    content: dict[str, Any] = json.loads(example)
    places = list(_places(content))
    for _ in range(draw(st.integers(1, 3))):
        holder, name = draw(st.sampled_from(places))
        holder[name] = draw(JSON)
    content.pop("digest", None)
    return json.dumps({**content, "digest": content_key(content)}).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, name
        if isinstance(inner, dict | list):
            yield from _places(inner)


def inputs(name: str, reader: Reader) -> st.SearchStrategy[bytes]:
    """Inputs for a reader: mutated examples, and of checkpoints also changed JSON with the right digest."""
    if name in ("manifest", "record"):
        return mutated(reader.examples) | resealed(reader.examples[0])
    return mutated(reader.examples)
