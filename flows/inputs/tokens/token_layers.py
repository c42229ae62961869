"""The cached tokens of any layer of the backbone."""

from __future__ import annotations

from flows.settings import Settings
from flows.stage import Job
from storage.arrays import ArrayReader


def head_layers(settings: Settings) -> tuple[int, ...]:
    """Blocks whose tokens the head reads, of resolved settings."""
    assert settings.backbone.token_layer is not None
    return settings.distill.layers or (settings.backbone.token_layer,)


def token_array(layer: int) -> str:
    """Name the array of ``token_layers`` with the tokens of a layer."""
    return f"tokens_of_layer_minus_{-layer}"


def open_head_layers(job: Job) -> list[ArrayReader]:
    """Open the tokens ``[N, n, d]`` of each layer that the head reads, wherever they are cached."""
    own = job.settings.backbone.token_layer
    return [
        job.checkpoint("extract").array("tokens")
        if layer == own
        else job.checkpoint("token_layers").array(token_array(layer))
        for layer in head_layers(job.settings)
    ]
