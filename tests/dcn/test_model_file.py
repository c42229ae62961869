"""Model files: what goes in comes out, and what is something else is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dcn.errors import InvalidModelFileError
from dcn.model_file import ModelDescription, load_model, model_bytes
from dcn.network import DynamicClusteringNetwork

ARGUMENTS: dict[str, Any] = {"dim": 8, "num_prototypes": 3, "num_stages": 1}
BACKBONE = {"name": "dino-s8", "weights": None, "input_size": 224, "token_layer": -1, "attention_block": -1}


def content(**backbone: object) -> bytes:
    torch.manual_seed(0)
    network = DynamicClusteringNetwork(**ARGUMENTS)
    return model_bytes(network.state_dict(), ModelDescription(ARGUMENTS, {**BACKBONE, **backbone}))


def test_a_model_comes_back(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content())
    network, description = load_model(tmp_path / "m.safetensors")
    torch.manual_seed(0)
    tokens = torch.randn(1, 4, 8)
    torch.manual_seed(0)
    torch.testing.assert_close(network(tokens), DynamicClusteringNetwork(**ARGUMENTS)(tokens))
    assert description.backbone == BACKBONE
    assert not network.training


def test_equal_models_are_equal_files() -> None:
    assert len({content() for _ in range(8)}) == 1


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
    path.write_bytes(model_bytes({}, ModelDescription(ARGUMENTS, {})))
    with pytest.raises(
        InvalidModelFileError, match="the tensor .* is not that of the network|it has 0 tensors for 1"
    ):
        load_model(path)
    path.write_bytes(content().replace(b'version\\": 1', b'version\\": 2'))
    with pytest.raises(InvalidModelFileError, match="has version 2; this software reads version 1"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("precision", "load"), ("precision", "__file__"), ("weights", 7), ("name", None), ("input_size", "224")],
)
def test_a_description_of_no_backbone_is_refused(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content(**{name: value}))
    with pytest.raises(
        InvalidModelFileError, match=f"is not a trained DCN: {name} of its backbone is {value!r}"
    ):
        load_model(path)


@pytest.mark.parametrize(
    "arguments", [{"dim": 10**7}, {"dim": 8, "num_stages": 10**9}, {"dim": 8, "num_prototypes": 10**12}]
)
def test_a_network_that_is_larger_than_its_file_is_never_built(
    tmp_path: Path, arguments: dict[str, int]
) -> None:
    """A few bytes would take all memory, or all time."""
    weights = DynamicClusteringNetwork(dim=8, num_stages=1).state_dict()
    content = model_bytes(weights, ModelDescription({"num_stages": 1, **arguments}, BACKBONE))
    (tmp_path / "dcn.safetensors").write_bytes(content)
    with pytest.raises(
        InvalidModelFileError, match=r"is not a trained DCN: (the tensor .* is not that of|it has \d+ ten)"
    ):
        load_model(tmp_path / "dcn.safetensors")
