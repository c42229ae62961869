"""Draw regions, foreground and classes of photographs, for the page, the artifacts and the exports."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.datasets import Dataset
from dcn.images.palette import colorize, overlay, region_palette
from flows.evaluation.named_classes import named_classes
from flows.evaluation.protocols.kmeans import SEMANTIC
from flows.inputs.datasets import open_dataset, read_mask, read_photograph
from flows.inputs.foreground import evaluated_foreground
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
        self._area = job.checkpoint("segment").array("area")
        self._job = job
        self._semantic = job.checkpoint("evaluate").read_values(SEMANTIC) if semantic else None

    def shown(self, count: int) -> list[IndexedImage]:
        """Select up to ``count`` photographs of the evaluated split, evenly spread."""
        rows = self.index.split_rows(self.index.summary.evaluate_split)
        return [self.index.image(row) for row in evenly_spread(rows, count).tolist()]

    def segmented_first_evaluated(self, count: int) -> list[IndexedImage]:
        """Select up to ``count`` photographs with regions: those of the evaluated split, then all others."""
        found = np.flatnonzero(region_counts(self._job))
        evaluated = np.intersect1d(found, self.index.split_rows(self.index.summary.evaluate_split))
        others = np.setdiff1d(found, evaluated)
        more = evenly_spread(others, max(0, count - len(evaluated)))
        rows = np.concatenate([evenly_spread(evaluated, count), more])
        return [self.index.image(row) for row in rows.tolist()]

    def segmented(self) -> Iterator[IndexedImage]:
        """Iterate over the photographs that have regions."""
        counts = region_counts(self._job)
        return (image for image in self.index.images() if counts[image.row])

    def regions(self, image: IndexedImage, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
        """Compute the region of every pixel, ``[H, W]``, at the size of the photograph or at another one."""
        maps = RegionMaps.read(self._job, image.row, image.row + 1)
        return maps.of(image) if size is None else maps.at(image, *size)

    def foreground(self, image: IndexedImage) -> npt.NDArray[np.bool_]:
        """Read which regions are foreground, ``[k]``."""
        found: npt.NDArray[np.bool_] = self._foreground.rows(image.row, image.row + 1)[0]
        return evaluated_foreground(self._job.settings, found)

    def areas(self, image: IndexedImage) -> npt.NDArray[np.int64]:
        """Read the area of every region in pixels, ``[k]``; 0 if it does not occur."""
        found: npt.NDArray[np.int64] = self._area.rows(image.row, image.row + 1)[0]
        return found

    def classes(self, image: IndexedImage) -> npt.NDArray[np.uint8] | None:
        """Read the class of every region ``[k]`` before the naming; None if it was not evaluated."""
        if self._semantic is None:
            return None
        classes = self._semantic[image.row]  # [k]
        return None if (classes < 0).all() else np.maximum(classes, 0).astype(np.uint8)

    def dataset_palette(self) -> npt.NDArray[np.uint8]:
        """Color of each class of the data set, ``[256, 3]``."""
        return self._dataset.palette

    def palette(self) -> npt.NDArray[np.uint8]:
        """Color of each class that :meth:`classes` reads, ``[256, 3]``. Joined classes have one color."""
        palette = self._dataset.palette
        return palette if self.named is None else self.named.cluster_palette(palette)

    def named_palette(self) -> npt.NDArray[np.uint8]:
        """Color of each class after the naming, ``[256, 3]``."""
        palette = self._dataset.palette
        if self.named is not None:
            palette[: len(self.named.names)] = self.named.colors(palette)
        return palette

    def photograph(self, image: IndexedImage, size: tuple[int, int] | None = None) -> RGB:
        """Read the photograph, ``[H, W, 3]`` RGB.

        Args:
            image: its entry of the index.
            size: height and width to which it is made smaller; None: its own size.

        Raises:
            InvalidPhotographError: the file is gone or was changed.

        """
        if size is None:
            return read_photograph(self._dataset, image)
        height, width = size
        read = Image.fromarray(read_photograph(self._dataset, image, min(size)))
        return np.asarray(read.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2))

    def maps(self, image: IndexedImage, longest_side: int | None = None) -> ResultMaps:
        """Read or compute all maps of one photograph.

        Args:
            image: its entry of the index.
            longest_side: most pixels of height and width, for small pictures, which take much less time;
                None: the size of the photograph.

        Raises:
            InvalidPhotographError: the photograph is gone or was changed.
            InvalidMaskError: the ground truth is gone or was changed.

        """
        size = _reduced_size(image, longest_side)
        regions, classes = self.regions(image, size), self.classes(image)
        truth = read_mask(self._dataset, image)
        return ResultMaps(
            photograph=self.photograph(image, size),
            regions=regions,
            foreground=self.foreground(image)[regions],
            semantic=None if classes is None else classes[regions],
            truth=truth if truth is None or size is None else _nearest(truth, size),
        )


def _reduced_size(image: IndexedImage, longest_side: int | None) -> tuple[int, int] | None:
    """Height and width with a longest side of at most so many pixels; None if the photograph has that."""
    longest = max(image.height, image.width)
    if longest_side is None or longest <= longest_side:
        return None
    scale = longest_side / longest
    return max(1, round(image.height * scale)), max(1, round(image.width * scale))


def _nearest(labels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    height, width = size
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


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
