"""Model files: what goes in comes out, and what is something else is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from dcn.class_names import NamedClasses
from dcn.errors import InvalidModelFileError
from dcn.model_description import (
    BackboneDescription,
    ClassDescription,
    EmbeddingDescription,
    ModelDescription,
    RegionRules,
)
from dcn.model_file import StoredModel, load_model, model_bytes, read_model
from dcn.network import DynamicClusteringNetwork

ARGUMENTS: dict[str, Any] = {"dim": 8, "num_prototypes": 3, "num_stages": 1}
BACKBONE = {"name": "dino-s8", "weights": None, "input_size": 224, "token_layer": -1, "attention_block": -1}
CLASSES = ClassDescription(
    matched=(0, 2, 1), named=NamedClasses(names=("background", "cat", "tree"), class_of_cluster=(0, 1, 2))
)
DESCRIPTION = ModelDescription(
    network=ARGUMENTS,
    backbone=BackboneDescription.model_validate(BACKBONE),
    regions=RegionRules(
        attention_reduction="mean", region_score="mean", foreground_split="average", smallest_part=0.01
    ),
    embedding=EmbeddingDescription(layer=-3, size=224),
    classes=CLASSES,
)
CENTERS = np.array([[0.1, 0.2], [0.3, 1 / 3]], dtype=np.float32)


def network() -> DynamicClusteringNetwork:
    torch.manual_seed(0)
    return DynamicClusteringNetwork(**ARGUMENTS)


def content(**backbone: object) -> bytes:
    """A file of the first version, which a training wrote, with changed values of the backbone."""
    described = {"version": 1, "network": ARGUMENTS, "backbone": {**BACKBONE, **backbone}}
    return save(network().state_dict(), {"dynamic-clustering-network": json.dumps(described)})


def test_a_model_comes_back(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(
        model_bytes(network().state_dict(), DESCRIPTION, class_centers=CENTERS)
    )
    found = load_model(tmp_path / "m.safetensors")
    assert found.description == DESCRIPTION
    assert not found.network.training
    assert found.class_centers is not None
    np.testing.assert_array_equal(found.class_centers, CENTERS)
    for name, value in network().state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[name], value.half().float(), rtol=0, atol=0)


def test_weights_take_two_bytes_each_and_those_that_are_too_large_for_it_keep_four() -> None:
    weights = network().state_dict()
    numbers = sum(tensor.numel() for tensor in weights.values())
    small = len(model_bytes(weights, DESCRIPTION, CENTERS))
    assert 2 * numbers < small < 2 * numbers + 4000
    weights["prototypes"][0, 0] = 1e5
    large = model_bytes(weights, DESCRIPTION, CENTERS)
    assert len(large) == small + 2 * weights["prototypes"].numel()
    assert read_model(large, "m").network.prototypes[0, 0] == 1e5


def test_a_file_of_the_first_version_is_read() -> None:
    found = read_model(content(), "m")
    assert found.description == ModelDescription(network=ARGUMENTS, backbone=DESCRIPTION.backbone)
    assert found.class_centers is None


def test_equal_models_are_equal_files() -> None:
    assert len({model_bytes(network().state_dict(), DESCRIPTION, CENTERS) for _ in range(8)}) == 1


def test_a_portable_model_names_no_folder() -> None:
    backbone = DESCRIPTION.backbone.model_copy(update={"weights": "/home/me/dino.pth"})
    stored = StoredModel(network(), DESCRIPTION.model_copy(update={"backbone": backbone}), CENTERS)
    assert b"/home/me" not in stored.portable().to_bytes()
    assert stored.portable().description.backbone.weights == "dino.pth"


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(InvalidModelFileError, match="there is no model file"):
        load_model(path)
    path.write_bytes(b"something")
    with pytest.raises(InvalidModelFileError, match="is not a trained DCN"):
        load_model(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(InvalidModelFileError, match="it does not say how it was trained"):
        load_model(path)
    path.write_bytes(model_bytes({}, DESCRIPTION, CENTERS))
    with pytest.raises(InvalidModelFileError, match="Missing key"):
        load_model(path)
    path.write_bytes(content().replace(b'version\\": 1', b'version\\": 3'))
    with pytest.raises(InvalidModelFileError, match="has version 3; this software reads versions up to 2"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("precision", "load"), ("precision", "__file__"), ("weights", 7), ("name", None), ("input_size", "xl")],
)
def test_a_description_of_no_backbone_is_refused(name: str, value: object) -> None:
    with pytest.raises(
        InvalidModelFileError, match=f"m is not a trained DCN: {name} of its backbone is {value!r}"
    ):
        read_model(content(**{name: value}), "m")


@pytest.mark.parametrize(
    "centers",
    [None, CENTERS[:1], CENTERS[0], np.full((2, 2), np.nan, np.float32)],
    ids=["none", "one", "flat", "NaN"],
)
def test_centers_that_do_not_fit_the_classes_are_refused(centers: np.ndarray | None) -> None:
    with pytest.raises(InvalidModelFileError, match="it does not have the centers of 2 clusters"):
        read_model(model_bytes(network().state_dict(), DESCRIPTION, centers), "m")


def test_a_cluster_without_class_is_refused() -> None:
    wrong = CLASSES.model_copy(update={"matched": (0, 3, 1)})
    description = DESCRIPTION.model_copy(update={"classes": wrong})
    with pytest.raises(InvalidModelFileError, match="a cluster has a number outside of 0 to 2"):
        read_model(model_bytes(network().state_dict(), description, CENTERS), "m")
