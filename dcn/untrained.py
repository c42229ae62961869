"""The network as it starts, before any training: soft k-means around prototypes from some photographs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch

from dcn.backbone import Backbone
from dcn.device import choose_device
from dcn.images.photograph import squash
from dcn.model import BATCH, Model, Pixels
from dcn.model_description import BackboneDescription, ModelDescription
from dcn.model_file import StoredModel
from dcn.network import DynamicClusteringNetwork
from dcn.prototypes import start_from_kmeans

# Tokens that determine the whitening and the prototypes, as many as at the start of a training.
_TOKENS = 4096
_SEED = 0


def untrained_model(
    name: str, photographs: Iterable[Pixels], device: str = "auto", whitened_dims: int = 128
) -> Model:
    """Make a model whose network has not been trained. Whitening and prototypes come from the photographs.

    A network that starts from the identity begins as soft k-means (:class:`DynamicClusteringNetwork`), so it
    finds regions before the first iteration. Training improves them.

    Args:
        name: a preset, or any ViT of timm.
        photographs: ``[H, W, 3]`` uint8 RGB each, at least one. Memory holds a batch of them.
        device: see :class:`dcn.model.Model`.
        whitened_dims: width of the whitened tokens.

    Raises:
        WeightsUnavailableError: the weights of the backbone cannot be loaded.

    """
    backbone, preset = Backbone.from_preset(name, None, choose_device(device))
    described = BackboneDescription(
        name=name,
        input_size=preset.input_size,
        token_layer=preset.token_layer,
        attention_block=preset.attention_block,
    )
    remaining = iter(photographs)
    tokens = []
    while few := list(islice(remaining, BATCH)):
        inputs = backbone.preprocess(np.stack([squash(one, described.input_size) for one in few]))
        tokens.append(backbone.features(inputs, described.token_layer).tokens.half().float().cpu())
    every = torch.cat(tokens).flatten(0, 1)  # [images * n, d]
    chosen = np.random.default_rng(_SEED).permutation(len(every))[:_TOKENS]
    sample = every[np.sort(chosen)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = DynamicClusteringNetwork(backbone.dim, whitened_dims=whitened_dims)
    assert network.whitening is not None
    network.whitening.fit(sample)
    start_from_kmeans(network, network.project(sample), _SEED)
    description = ModelDescription(
        network={"dim": backbone.dim, "whitened_dims": whitened_dims}, backbone=described
    )
    stored = StoredModel(network.eval().requires_grad_(False), description)
    return Model(stored, device=device, backbone=backbone)
