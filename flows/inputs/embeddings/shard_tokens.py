"""Tokens of the photographs of a shard: those that ``extract`` cached, or those of another block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from flows.inputs.datasets import open_dataset, read_squashed
from flows.inputs.image_index import IndexedImage
from flows.inputs.models import load_backbone
from flows.inputs.parallel import batched, in_threads
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
    from dcn.backbone import Backbone
    from dcn.flip_averaging import flip_averaged_features

    assert layer is not None
    assert settings.input_size is not None
    backbone = load_backbone(job.settings)
    tokens = np.zeros((stop - start, *cached.shape[1:]), dtype=np.float16)
    read = partial(read_squashed, open_dataset(job.settings.dataset), settings.input_size)
    for batch in batched(in_threads(read, images), settings.batch_size):
        usable = [(image.row - start, squashed) for image, squashed, _ in batch if squashed is not None]
        if usable:
            inputs = backbone.preprocess(np.stack([squashed for _, squashed in usable]))
            compute = flip_averaged_features if settings.flip else Backbone.features
            features = compute(backbone, inputs, layer, layer)
            tokens[[row for row, _ in usable]] = features.tokens.half().cpu().numpy()
    return tokens
