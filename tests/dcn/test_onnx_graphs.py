"""ONNX graphs give the numbers of PyTorch, in onnxruntime, for other sizes of batch than they were traced with."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import torch
from timm.models import VisionTransformer

from dcn.backbone import Backbone
from dcn.errors import InvalidOptionError
from dcn.model import Model
from dcn.model_description import BackboneDescription, ModelDescription
from dcn.model_file import StoredModel
from dcn.modularity import cosine_assignment
from dcn.network import DynamicClusteringNetwork
from dcn.onnx_graphs import write_both, write_network

SIZE = 48


@pytest.fixture(scope="module")
def model() -> Model:
    """A model with random weights: two blocks of width 32, and an input that its position embedding does not have."""
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, num_classes=0, dynamic_img_size=True
    )
    cast(Any, vit).pretrained_cfg = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.2)}
    arguments = {"dim": 32, "num_prototypes": 4, "num_stages": 1, "heads": 2, "whitened_dims": 16}
    network = DynamicClusteringNetwork(**arguments)  # type: ignore[arg-type]
    assert network.whitening is not None
    network.whitening.fit(torch.randn(200, 32))
    backbone = BackboneDescription(name="random", input_size=SIZE, token_layer=-1, attention_block=-2)
    stored = StoredModel(
        network.eval().requires_grad_(False), ModelDescription(network=arguments, backbone=backbone)
    )
    return Model(stored, device="cpu", backbone=Backbone(vit))


def run(file: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(file)
    assert [one.name for one in session.get_inputs()] == list(inputs)
    found: list[np.ndarray] = session.run(None, inputs)
    return found


def expected_assignment(model: Model, tokens: torch.Tensor) -> np.ndarray:
    network = model.stored.network
    projected = network.project(tokens)
    return cosine_assignment(projected, network(projected)).numpy()


@pytest.mark.parametrize(("images", "patches"), [(1, 9), (5, 30)])
def test_the_network_is_equal(model: Model, network_file: Path, images: int, patches: int) -> None:
    tokens = torch.randn(images, patches, 32)
    (assignment,) = run(network_file, tokens=tokens.numpy())
    np.testing.assert_allclose(assignment, expected_assignment(model, tokens), atol=1e-4)


@pytest.fixture(scope="module")
def network_file(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "network.onnx"
    write_network(model, file)
    return file


@pytest.mark.slow
def test_backbone_and_network_are_equal(model: Model, tmp_path: Path) -> None:
    write_both(model, tmp_path / "model.onnx")
    photographs = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    assignment, attention = run(tmp_path / "model.onnx", photographs=photographs)
    features = model.backbone.features(model.backbone.preprocess(photographs), -1, -2)
    np.testing.assert_allclose(assignment, expected_assignment(model, features.tokens), atol=1e-4)
    np.testing.assert_allclose(attention, features.attention.numpy(), atol=1e-4)
    # What the model itself finds, whose tokens are rounded as those in a workspace are.
    own = model.assign(photographs).assignment
    np.testing.assert_allclose(assignment, own, atol=5e-3)


@pytest.mark.slow
def test_flip_averaging_is_a_part_of_the_graph(model: Model, tmp_path: Path) -> None:
    described = model.stored.description
    backbone = described.backbone.model_copy(update={"flip": True})
    stored = replace(model.stored, description=described.model_copy(update={"backbone": backbone}))
    flipped = Model(stored, device="cpu", backbone=model.backbone)
    write_both(flipped, tmp_path / "model.onnx")
    photographs = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    assignment, attention = run(tmp_path / "model.onnx", photographs=photographs)
    own, own_attention, _ = flipped.assign(photographs)
    np.testing.assert_allclose(assignment, own, atol=5e-3)
    np.testing.assert_allclose(attention, own_attention, atol=1e-3)
    assert not np.allclose(assignment, model.assign(photographs)[0], atol=5e-3)


def test_missing_packages_are_named(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcn.onnx_graphs.find_spec", lambda name: None)
    with pytest.raises(InvalidOptionError, match=r"ONNX needs onnx and onnxscript; .*\[onnx\]"):
        write_network(model, tmp_path / "network.onnx")
