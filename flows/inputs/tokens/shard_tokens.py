"""Tokens of the photographs of a shard: those that ``extract`` cached, or those of another block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flows.inputs.image_index import IndexedImage
from flows.inputs.models import load_backbone
from flows.inputs.tokens.squashed_batches import squashed_batches
from flows.stage import Job


def read_tokens(
    job: Job, start: int, stop: int, images: Sequence[IndexedImage], layer: int | None
) -> npt.NDArray[np.float16]:
    """Read or compute the tokens of the photographs ``start`` to before ``stop``.

    Args:
        job: the run; its ``extract`` is complete.
        start: row of the first photograph.
        stop: row after the last one.
        images: those of the photographs whose tokens are wanted.
        layer: block whose normalized output gives the tokens. The block that ``extract`` has cached costs
            nothing, another one costs a forward pass for each photograph. None is the cached one.

    Returns:
        ``[stop - start, n, d]``. A photograph that cannot be read has zeros.

    """
    settings, cached = job.settings.backbone, job.checkpoint("extract").array("tokens")
    if layer in {None, settings.token_layer} or not images:
        return cached.rows(start, stop)
    assert layer is not None
    assert settings.input_size is not None
    from dcn.flip_averaging import compute_features

    backbone = load_backbone(job.settings)
    tokens = np.zeros((stop - start, *cached.shape[1:]), dtype=np.float16)
    for batch in squashed_batches(job.settings, settings.input_size, images):
        if batch.images:
            inputs = backbone.preprocess(batch.pixels)
            features = compute_features(backbone, inputs, layer, layer, flip=settings.flip)
            tokens[[image.row - start for image in batch.images]] = features.tokens.half().cpu().numpy()
    return tokens
