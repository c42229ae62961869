"""Draw regions, foreground and classes of photographs, for the page, the artifacts and the exports."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.datasets import Dataset
from dcn.images.palette import class_palette, colorize, overlay, region_palette
from flows.evaluation.named_classes import named_classes
from flows.evaluation.protocols.kmeans import SEMANTIC
from flows.inputs.datasets import open_dataset, read_mask, read_photograph
from flows.inputs.image_index import IndexedImage, evenly_spread, open_index
from flows.inputs.region_counts import region_counts
from flows.inputs.region_maps import RegionMaps
from flows.stage import Job

RGB = npt.NDArray[np.uint8]
# Largest height of a picture, in multiples of the width that it may have.
_TALLEST = 4


@dataclass(frozen=True)
class ResultMaps:
    """All maps of one photograph, at its original size.

    Attributes:
        photograph: ``[H, W, 3]`` RGB.
        regions: ``[H, W]`` region of every pixel.
        foreground: ``[H, W]`` whether a pixel is in a foreground region.
        semantic: ``[H, W]`` class of every pixel; None if the photograph was not evaluated.
        truth: ``[H, W]`` ground truth; None without ground truth.

    """

    photograph: RGB
    regions: npt.NDArray[np.uint8]
    foreground: npt.NDArray[np.bool_]
    semantic: npt.NDArray[np.uint8] | None
    truth: npt.NDArray[np.uint8] | None


class ResultReader:
    """Reads the results of a run photograph by photograph.

    Args:
        job: the run. Its ``segment`` is complete, and its ``evaluate`` too if ``semantic`` is true.
        semantic: read the classes as well.

    Attributes:
        index: the index of the run.
        named: names of the classes, and which of them are one (``report.names``); None without classes.

    """

    def __init__(self, job: Job, semantic: bool) -> None:
        self.index = open_index(job)
        self.named = named_classes(job) if semantic else None
        self._dataset: Dataset = open_dataset(job.settings.dataset)
        self._foreground = job.checkpoint("segment").array("foreground")
        self._job = job
        self._semantic = job.checkpoint("evaluate").read_values(SEMANTIC) if semantic else None

    def shown(self, count: int) -> list[IndexedImage]:
        """Select up to ``count`` photographs of the evaluated split, evenly spread."""
        rows = self.index.split_rows(self.index.summary.evaluate_split)
        return [self.index.image(row) for row in evenly_spread(rows, count).tolist()]

    def segmented(self) -> Iterator[IndexedImage]:
        """Iterate over the photographs that have regions."""
        counts = region_counts(self._job)
        return (image for image in self.index.images() if counts[image.row])

    def regions(self, image: IndexedImage) -> npt.NDArray[np.uint8]:
        """Compute the region of every pixel, ``[H, W]``."""
        return RegionMaps.read(self._job, image.row, image.row + 1).of(image)

    def classes(self, image: IndexedImage) -> npt.NDArray[np.uint8] | None:
        """Read the class of every region ``[k]`` before the naming; None if it was not evaluated."""
        if self._semantic is None:
            return None
        classes = self._semantic[image.row]  # [k]
        return None if (classes < 0).all() else np.maximum(classes, 0).astype(np.uint8)

    def palette(self) -> npt.NDArray[np.uint8]:
        """Color of each class that :meth:`classes` reads, ``[256, 3]``. Joined classes have one color."""
        palette = class_palette(self.index.summary.ignore_label)
        return palette if self.named is None else self.named.cluster_palette(palette)

    def named_palette(self) -> npt.NDArray[np.uint8]:
        """Color of each class after the naming, ``[256, 3]``."""
        palette = class_palette(self.index.summary.ignore_label)
        if self.named is not None:
            palette[: len(self.named.names)] = self.named.colors(palette)
        return palette

    def photograph(self, image: IndexedImage) -> RGB:
        """Read the photograph, ``[H, W, 3]`` RGB.

        Raises:
            InvalidPhotographError: the file is gone or was changed.

        """
        return read_photograph(self._dataset, image)

    def maps(self, image: IndexedImage) -> ResultMaps:
        """Read or compute all maps of one photograph.

        Raises:
            InvalidPhotographError: the photograph is gone or was changed.
            InvalidMaskError: the ground truth is gone or was changed.

        """
        regions, classes = self.regions(image), self.classes(image)
        return ResultMaps(
            photograph=self.photograph(image),
            regions=regions,
            foreground=self._foreground.rows(image.row, image.row + 1)[0][regions],
            semantic=None if classes is None else classes[regions],
            truth=read_mask(self._dataset, image),
        )


def drawn(maps: ResultMaps, palette: npt.NDArray[np.uint8]) -> dict[str, RGB]:
    """Draw the maps as pictures ``[H, W, 3]``, in the order in which pages show them.

    Args:
        maps: the maps of one photograph.
        palette: color of each class, see :meth:`ResultReader.palette`.

    """
    gray = maps.photograph.mean(axis=2, keepdims=True).astype(np.uint8)
    dimmed = np.broadcast_to(gray // 3, maps.photograph.shape)
    pictures = {
        "photograph": maps.photograph,
        "regions": overlay(maps.photograph, maps.regions, region_palette()),
        "foreground": np.where(maps.foreground[..., None], maps.photograph, dimmed),
    }
    for name, labels in (("semantic", maps.semantic), ("ground truth", maps.truth)):
        if labels is not None:
            pictures[name] = colorize(labels, palette)
    return pictures


def jpeg(picture: RGB, width: int) -> bytes:
    """Encode a picture as JPEG. A picture that is wider than ``width``, or much taller, is made smaller."""
    image = Image.fromarray(picture)
    scale = min(1, width / image.width, _TALLEST * width / image.height)
    if scale < 1:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()
