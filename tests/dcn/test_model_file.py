"""Model files: what goes in comes out, and what is something else is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from dcn.class_head import ClassHead
from dcn.class_names import NamedClasses
from dcn.errors import InvalidModelFileError
from dcn.model_description import (
    BackboneDescription,
    ClassDescription,
    EmbeddingDescription,
    HeadDescription,
    ModelDescription,
    RegionRules,
)
from dcn.model_file import StoredModel, load_model, model_bytes, read_model
from dcn.network import DynamicClusteringNetwork
from dcn.weights.tensor_file import read_tensors
from dcn.whitening import TokenWhitening

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


HEAD = HeadDescription(layers=(-3, -1), depth=2, matched=(0, 1, 2))
WITH_HEAD = DESCRIPTION.model_copy(update={"head": HEAD})


def head(clusters: int = 3) -> ClassHead:
    torch.manual_seed(1)
    return ClassHead(8, HEAD.model_copy(update={"matched": tuple(range(clusters))}))


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


def whitening(directions: int = 2) -> TokenWhitening:
    found = TokenWhitening(8, directions)
    found.fit(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)))
    return found


def test_sources_and_whitening_of_embeddings_come_back() -> None:
    embedding = EmbeddingDescription(
        layer=-3, size=224, source=("crop", "tokens"), drop_masked=True, token_layer=-2
    )
    description = DESCRIPTION.model_copy(update={"embedding": embedding})
    stored = StoredModel(network(), description, CENTERS, whitening())
    found = read_model(stored.to_bytes(), "m")
    assert found.description == description
    assert found.whitening is not None
    assert torch.equal(found.whitening.mean, whitening().mean)
    assert torch.equal(found.whitening.projection, whitening().projection)
    assert b'version\\": 3' in stored.to_bytes()


def test_whitening_and_head_come_back_together() -> None:
    stored = StoredModel(network(), WITH_HEAD, CENTERS, whitening(), head())
    found = read_model(stored.to_bytes(), "m")
    assert found.description == WITH_HEAD
    assert found.whitening is not None
    assert found.head is not None
    assert torch.equal(found.whitening.projection, whitening().projection)
    assert found.to_bytes() == stored.to_bytes()


def test_a_model_with_embeddings_of_masked_crops_is_the_file_that_it_was() -> None:
    """Software that reads version 2 reads it as well: it knows no other source, and refuses unknown names."""
    content = model_bytes(network().state_dict(), DESCRIPTION, CENTERS)
    assert b'version\\": 2' in content
    assert b'\\"embedding\\": {\\"layer\\": -3, \\"size\\": 224}' in content


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"mean": torch.zeros(8)}, "projection"),
        ({"mean": torch.zeros(8), "projection": torch.zeros(7, 2)}, "are no whitening"),
        ({**TokenWhitening(8, 3).state_dict()}, "its centers have 2 channels, and its embeddings have 3"),
        ({**TokenWhitening(8, 2).state_dict(), "more": torch.zeros(1)}, "more"),
    ],
)
def test_a_whitening_that_does_not_fit_is_refused(tensors: dict[str, torch.Tensor], message: str) -> None:
    stored = StoredModel(network(), DESCRIPTION, CENTERS, whitening())
    own, metadata = read_tensors(stored.to_bytes())
    kept = {name: value for name, value in own.items() if not name.startswith("embedding_whitening.")}
    changed = kept | {f"embedding_whitening.{name}": value for name, value in tensors.items()}
    with pytest.raises(InvalidModelFileError, match=message):
        read_model(save(changed, metadata), "m")


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
    with pytest.raises(InvalidModelFileError, match="it has 0 tensors for 1 stages"):
        load_model(path)
    path.write_bytes(content().replace(b'version\\": 1', b'version\\": 4'))
    with pytest.raises(InvalidModelFileError, match="has version 4; this software reads versions up to 3"):
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
    "arguments", [{"dim": 10**7}, {"dim": 8, "num_stages": 10**9}, {"dim": 8, "num_prototypes": 10**12}]
)
def test_a_network_that_is_larger_than_its_file_is_never_built(arguments: dict[str, int]) -> None:
    """A few bytes would take all memory, or all time."""
    described = DESCRIPTION.model_copy(update={"network": {**ARGUMENTS, **arguments}})
    with pytest.raises(
        InvalidModelFileError, match=r"is not a trained DCN: (the tensor .* is not that of|it has \d+ ten)"
    ):
        read_model(model_bytes(network().state_dict(), described, CENTERS), "m")


@pytest.mark.parametrize(
    "centers",
    [None, CENTERS[:1], CENTERS[0], np.full((2, 2), np.nan, np.float32)],
    ids=["none", "one", "flat", "NaN"],
)
def test_centers_that_do_not_fit_the_classes_are_refused(centers: np.ndarray | None) -> None:
    with pytest.raises(InvalidModelFileError, match="it does not have the 2 centers of its classes"):
        read_model(model_bytes(network().state_dict(), DESCRIPTION, centers), "m")


def test_a_cluster_without_class_is_refused() -> None:
    wrong = CLASSES.model_copy(update={"matched": (0, 3, 1)})
    description = DESCRIPTION.model_copy(update={"classes": wrong})
    with pytest.raises(InvalidModelFileError, match="a center has a number outside of 0 to 2"):
        read_model(model_bytes(network().state_dict(), description, CENTERS), "m")


def test_a_head_comes_back_and_a_model_without_one_is_written_as_before() -> None:
    written = model_bytes(network().state_dict(), WITH_HEAD, CENTERS, head=head())
    found = read_model(written, "m")
    assert found.description == WITH_HEAD
    assert found.head is not None
    for name, value in head().state_dict().items():
        torch.testing.assert_close(found.head.state_dict()[name], value.half().float(), rtol=0, atol=0)
    assert found.to_bytes() == written
    assert b'version\\": 3' in written
    without = model_bytes(network().state_dict(), DESCRIPTION, CENTERS)
    assert b'version\\": 2' in without
    assert b"head." not in without


@pytest.mark.parametrize(
    ("description", "given", "message"),
    [
        (WITH_HEAD, None, "its head is not one of 3 clusters"),
        (WITH_HEAD, head(4), "its head is not one of 3 clusters"),
        (DESCRIPTION, head(), "a head without a description"),
        (WITH_HEAD.model_copy(update={"classes": None}), head(), "a head without a description"),
        (
            DESCRIPTION.model_copy(update={"head": HEAD.model_copy(update={"depth": 3})}),
            head(),
            "its head is not one of 3 clusters",
        ),
        (
            DESCRIPTION.model_copy(update={"head": HEAD.model_copy(update={"depth": 10**9})}),
            head(),
            "less than or equal to 3",
        ),
        (
            DESCRIPTION.model_copy(update={"head": HEAD.model_copy(update={"matched": (0, 1, 3)})}),
            head(),
            "a cluster of its head has a number outside of 0 to 2",
        ),
    ],
    ids=["none", "clusters", "undescribed", "no classes", "depth", "far too deep", "no such class"],
)
def test_a_head_that_does_not_fit_its_description_is_refused(
    description: ModelDescription, given: ClassHead | None, message: str
) -> None:
    centers = CENTERS if description.classes else None
    with pytest.raises(InvalidModelFileError, match=message):
        read_model(model_bytes(network().state_dict(), description, centers, head=given), "m")


def test_a_head_with_infinite_weights_is_refused() -> None:
    infinite = head()
    with torch.no_grad():
        next(infinite.parameters())[0, 0] = torch.inf
    with pytest.raises(InvalidModelFileError, match="its head is not one of 3 clusters"):
        read_model(model_bytes(network().state_dict(), WITH_HEAD, CENTERS, head=infinite), "m")


def test_new_names_translate_the_clusters_of_the_head_as_well() -> None:
    """The clusters 1 and 2 become one class, and so do the outputs of the head that have their numbers."""
    described = WITH_HEAD.model_copy(update={"head": HEAD.model_copy(update={"matched": (0, 2, 1)})})
    renamed = StoredModel(network(), described, CENTERS, head=head()).renamed({1: "thing", 2: "thing"})
    again = renamed.renamed({1: "object"})
    for found, names in ((renamed, ("background", "thing")), (again, ("background", "object"))):
        assert found.description.head is not None
        assert found.description.classes is not None
        named = found.description.classes.named
        assert named.names == names
        assert named.of_clusters(np.array(found.description.head.matched)).tolist() == [0, 1, 1]


def test_reading_a_model_imports_no_sympy(tmp_path: Path) -> None:
    """PyTorch imports it for some operations on the device meta, which takes half a second."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dcn.model_file import load_model\n"
        "load_model(Path(sys.argv[1]))\n"
        "print('sympy' in sys.modules)\n"
    )
    file = tmp_path / "dcn.safetensors"
    file.write_bytes(model_bytes(network().state_dict(), DESCRIPTION, CENTERS))
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
