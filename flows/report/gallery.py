"""The most and the least typical regions of every class, so that a person sees what a class is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import normalize

from dcn.evaluation.protocols import Regions
from flows.evaluation.protocols.kmeans import SEMANTIC
from flows.evaluation.region_table import region_blocks
from flows.inputs.image_index import open_index
from flows.stage import Job

_SHOWN = 12


@dataclass(frozen=True, order=True)
class PlacedRegion:
    """A region and its place in its class.

    Attributes:
        distance: distance of its embedding, of unit length, to the center of the class. If the regions are
            classes already, they have no embeddings, and this is minus the area in pixels.
        image: row of its photograph.
        region: its number in the photograph.

    """

    distance: float
    image: int
    region: int


@dataclass
class ClassGallery:
    """Regions of one class.

    Attributes:
        count: number of all regions of the class.
        typical: the regions that are nearest to the center, the nearest first.
        least: the other regions that are farthest from it, the farthest first.

    """

    count: int = 0
    typical: list[PlacedRegion] = field(default_factory=list)
    least: list[PlacedRegion] = field(default_factory=list)


def class_galleries(job: Job) -> dict[int, ClassGallery]:
    """Choose the regions of every class but the background, by class.

    The center of a class is the mean direction of the embeddings of its evaluated regions. The regions are
    read twice, block by block, so that memory does not grow with their number.

    Args:
        job: the run; its ``evaluate`` is complete.

    """
    galleries: dict[int, ClassGallery] = {}
    centers = _centers(job)
    for index, block in _classified(job):
        for label, distances in _distances(job, block, index, centers):
            gallery = galleries.setdefault(label, ClassGallery())
            gallery.count += len(distances)
            # The longest half of a gallery suffices on both sides; what is in both is taken out at the end.
            gallery.typical = sorted([*gallery.typical, *distances])[:_SHOWN]
            gallery.least = sorted([*gallery.least, *distances], reverse=True)[:_SHOWN]
    for gallery in galleries.values():
        gallery.least = [region for region in gallery.least if region not in gallery.typical]
    return dict(sorted(galleries.items()))


def _classified(job: Job) -> Iterator[tuple[npt.NDArray[np.int16], Regions]]:
    """Read the evaluated regions that have a class but the background: their classes ``[R]``, and they."""
    index = open_index(job)
    rows = index.split_rows(index.summary.evaluate_split)
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)  # [N, k]
    for block in region_blocks(job, rows):
        classes = semantic[block.image, block.index]
        chosen = classes > 0
        if not job.settings.regions_are_classes:
            chosen &= block.embedded
        yield classes[chosen], block.take(chosen)


def _centers(job: Job) -> npt.NDArray[np.float64]:
    """Average the directions of the embeddings of each class, ``[C, d]``."""
    sums = np.zeros((256, 1))
    counts = np.zeros((256, 1))
    for classes, block in _classified(job):
        if sums.shape[1] != block.embedding.shape[1]:
            sums = np.zeros((256, block.embedding.shape[1]))
        np.add.at(sums, classes, _directions(block))
        np.add.at(counts, classes, 1)
    centers: npt.NDArray[np.float64] = sums / counts.clip(min=1)
    return centers


def _distances(
    job: Job, block: Regions, classes: npt.NDArray[np.int16], centers: npt.NDArray[np.float64]
) -> Iterator[tuple[int, list[PlacedRegion]]]:
    """Place the regions of a block in their classes, class by class."""
    if job.settings.regions_are_classes:
        areas = job.checkpoint("segment").array("area").read_ahead(block.image).result()  # [R, k]
        distances = -areas[np.arange(len(areas)), block.index]
    else:
        distances = np.linalg.norm(_directions(block) - centers[classes], axis=1)
    for label in np.unique(classes).tolist():
        members = np.flatnonzero(classes == label)
        yield (
            label,
            [
                PlacedRegion(float(distances[row]), int(block.image[row]), int(block.index[row]))
                for row in members
            ],
        )


def _directions(block: Regions) -> npt.NDArray[np.float64]:
    if not block.embedding.shape[1] or not len(block.embedding):
        return np.zeros((len(block.embedding), block.embedding.shape[1]))
    found: npt.NDArray[np.float64] = normalize(block.embedding.astype(np.float64))
    return found
