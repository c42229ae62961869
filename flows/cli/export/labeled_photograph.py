"""What is exported: the photographs of a run with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from flows.inputs.image_index import IndexedImage
from flows.report.pictures import ResultReader
from flows.stage import Job

What = Literal["regions", "semantic"]


@dataclass(frozen=True)
class Export:
    """An export, as all of its formats see it.

    Attributes:
        job: the run.
        reader: reads its results.
        what: ``regions``, or ``semantic`` for classes.
        folder: absolute path of the output folder.
        dataset_root: folder of the data set.

    """

    job: Job
    reader: ResultReader
    what: What
    folder: Path
    dataset_root: Path


@dataclass(frozen=True)
class LabeledPhotograph:
    """A photograph that has regions, and its labels, which are computed when a format first asks.

    Attributes:
        export: the export.
        image: entry of the photograph in the index.

    """

    export: Export
    image: IndexedImage

    @cached_property
    def classes(self) -> npt.NDArray[np.uint8] | None:
        """Class of each region ``[k]`` after the naming; None if the photograph was not evaluated."""
        reader = self.export.reader
        clusters = reader.classes(self.image)
        return None if clusters is None or reader.named is None else reader.named.of_clusters(clusters)

    @cached_property
    def labels(self) -> npt.NDArray[np.uint8]:
        """Label map ``[H, W]``: the region of every pixel, or its class."""
        regions = self.export.reader.regions(self.image)
        if self.export.what == "regions":
            return regions
        assert self.classes is not None
        return self.classes[regions]
