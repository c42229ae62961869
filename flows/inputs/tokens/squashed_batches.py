"""Photographs as squares, in batches for a ViT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flows.inputs.datasets import open_dataset, read_squashed
from flows.inputs.image_index import IndexedImage
from flows.inputs.parallel import batched, in_threads
from flows.settings import Settings


class SquashedBatch(NamedTuple):
    """A batch of photographs.

    Attributes:
        images: ``b`` photographs that were read; there may be none.
        pixels: ``[b, S, S, 3]`` uint8 RGB.
        refused: files that cannot be read any more, with the reasons.

    """

    images: list[IndexedImage]
    pixels: npt.NDArray[np.uint8]
    refused: list[dict[str, str]]

    @property
    def size(self) -> int:
        """Number of photographs of the batch, refused ones too."""
        return len(self.images) + len(self.refused)


def squashed_batches(
    settings: Settings, size: int, images: Iterable[IndexedImage]
) -> Iterator[SquashedBatch]:
    """Read photographs in batches of ``backbone.batch_size``, while the consumer computes.

    Args:
        settings: of the run.
        size: side ``S`` of the squares in pixels.
        images: the photographs.

    """
    read = partial(read_squashed, open_dataset(settings.dataset), size)
    for batch in batched(in_threads(read, images), settings.backbone.batch_size):
        usable = [(image, squashed) for image, squashed, _ in batch if squashed is not None]
        yield SquashedBatch(
            [image for image, _ in usable],
            np.array([squashed for _, squashed in usable], dtype=np.uint8).reshape(-1, size, size, 3),
            [
                {"file": image.item.image, "reason": reason}
                for image, squashed, reason in batch
                if squashed is None
            ],
        )
