"""The network as it starts is soft k-means: it finds the discs of drawn photographs before any training."""

import numpy as np
import pytest

from dcn.model import Model
from dcn.untrained import untrained_model
from flows.settings import TrainSettings
from tests.conftest import draw_scene

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model() -> Model:
    return untrained_model("focus-s14", (draw_scene(seed)[0] for seed in range(3)), device="cpu")


def test_it_finds_the_disc_of_a_photograph_that_it_never_saw(model: Model) -> None:
    photograph, mask = draw_scene(10)
    regions = [region.mask for region in model.segment(photograph).regions]
    assert len(regions) > 1
    assert max((region & (mask > 0)).sum() / (region | (mask > 0)).sum() for region in regions) > 0.5


def test_it_is_the_network_that_training_starts_from(model: Model) -> None:
    network, settings = model.stored.network, TrainSettings()
    assert network.whitening is not None
    assert network.whitening.width == settings.whitened_dims
    assert len(network.prototypes) == settings.num_prototypes
    assert len(network.dynamic_updates) == len(network.self_updates) == settings.num_stages


def test_the_same_photographs_give_the_same_model(model: Model) -> None:
    again = untrained_model("focus-s14", [draw_scene(seed)[0] for seed in range(3)], device="cpu")
    assert again.stored.to_bytes() == model.stored.to_bytes()
    assert np.isfinite(again.stored.network.prototypes.numpy()).all()
