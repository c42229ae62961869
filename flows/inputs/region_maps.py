"""The region of every pixel of a photograph. All stages read it here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcn.regions import label_map, resize_label_map
from flows.inputs.image_index import IndexedImage
from flows.stage import Job


@dataclass(frozen=True)
class RegionMaps:
    """Regions of consecutive photographs, as ``segment`` stores them.

    Attributes:
        start: row of the first photograph.
        assignment: ``[b, n, k]`` soft assignment of patches to regions.
        labels: ``[b, S, S]`` label maps that are finer than patches; None if the run stores none.

    """

    start: int
    assignment: npt.NDArray[np.float16]
    labels: npt.NDArray[np.uint8] | None

    @classmethod
    def read(cls, job: Job, start: int, stop: int) -> RegionMaps:
        """Read the regions of the photographs ``start`` to before ``stop``."""
        segment = job.checkpoint("segment")
        stored = job.settings.segment.stores_labels
        return cls(
            start,
            segment.array("assignment").rows(start, stop),
            segment.array("labels").rows(start, stop) if stored else None,
        )

    def of(self, image: IndexedImage) -> npt.NDArray[np.uint8]:
        """Compute the region of every pixel of a photograph at its own size, ``[H, W]``."""
        return self.at(image, image.height, image.width)

    def at(self, image: IndexedImage, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Compute the region of every pixel of a photograph at another size, ``[height, width]``."""
        row = image.row - self.start
        if self.labels is None:
            return label_map(self.assignment[row], height, width)
        return resize_label_map(self.labels[row], height, width)
