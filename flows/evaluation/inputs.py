"""Inputs of a protocol: the run, the cached arrays of a shard, a photograph with its ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.datasets import Dataset
from dcn.errors import InvalidMaskError
from flows.inputs.datasets import open_dataset, read_mask, read_segmentations
from flows.inputs.foreground import evaluated_foreground
from flows.inputs.image_index import ImageIndex, IndexedImage, open_index
from flows.inputs.region_maps import RegionMaps
from flows.settings import Settings
from flows.stage import Job
from storage import Checkpoint


@dataclass(frozen=True)
class EvaluatedRun:
    """The run that is evaluated.

    Attributes:
        job: settings and checkpoints. Every stage before ``evaluate`` is complete.
        index: the photographs.
        dataset: the data set of the run.

    """

    job: Job
    index: ImageIndex
    dataset: Dataset

    @classmethod
    def open(cls, job: Job) -> EvaluatedRun:
        """Open index and data set of a job."""
        return cls(job, open_index(job), open_dataset(job.settings.dataset))

    @property
    def settings(self) -> Settings:
        """Settings of the run."""
        return self.job.settings

    @property
    def num_classes(self) -> int:
        """Number of classes ``C``, background included; 0 without classes."""
        return len(self.index.class_names)

    @property
    def num_regions(self) -> int:
        """Largest possible number of regions of a photograph, ``k``."""
        return self.settings.num_regions

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint of ``evaluate``, which holds the arrays of all protocols."""
        return self.job.checkpoint("evaluate")

    def evaluated_rows(self) -> npt.NDArray[np.int64]:
        """Rows of the photographs of the evaluated split, in order."""
        return self.index.split_rows(self.index.summary.evaluate_split)

    def read(self, array: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Read some rows of an array of the checkpoint, for a block of photographs."""
        return self.checkpoint.array(array).read_ahead(rows).result()

    def read_all(self, array: str) -> npt.NDArray[Any]:
        """Read all ``N`` rows of an array of the checkpoint, for arrays of a few numbers a photograph."""
        return self.checkpoint.array(array).rows(0, len(self.index))


@dataclass(frozen=True)
class Shard:
    """Cached arrays of the ``s`` photographs of one shard.

    Attributes:
        start: row of the first photograph.
        segmented: the photographs that have regions.
        maps: soft assignment of patches to regions, and the region of every pixel.
        foreground: ``[s, k]`` whether a region is foreground.
        attention: ``[s, h, n]`` attention of the CLS token. This array, ``tokens`` and ``logits`` have no
            rows if no photograph of the shard is in the evaluated split.
        tokens: ``[s, n, d]`` tokens of the frozen ViT.
        logits: ``[s, m, C - 1]`` cosines of the language model; None without a language model.
        evaluate_split: name of the evaluated split.

    """

    start: int
    segmented: tuple[IndexedImage, ...]
    maps: RegionMaps
    foreground: npt.NDArray[np.bool_]
    attention: npt.NDArray[np.float16]
    tokens: npt.NDArray[np.float16]
    logits: npt.NDArray[np.float16] | None
    evaluate_split: str

    @property
    def evaluated(self) -> tuple[IndexedImage, ...]:
        """The segmented photographs of the evaluated split."""
        return tuple(image for image in self.segmented if self.is_evaluated(image))

    def is_evaluated(self, image: IndexedImage) -> bool:
        """Whether a photograph is in the evaluated split."""
        return self.evaluate_split in image.item.splits


def read_shard(run: EvaluatedRun, start: int, stop: int) -> Shard:
    """Read the cached arrays of the photographs ``start`` to before ``stop``."""
    segment, extract = run.job.checkpoint("segment"), run.job.checkpoint("extract")
    area = segment.array("area").rows(start, stop)
    segmented = tuple(image for image in run.index.images(start, stop) if area[image.row - start].any())
    split = run.index.summary.evaluate_split
    # Photographs outside the evaluated split are only in the bank of k-NN, which needs no tokens.
    last = stop if any(split in image.item.splits for image in segmented) else start
    language = run.job.checkpoint("language") if run.settings.classifies_by_language else None
    return Shard(
        start=start,
        segmented=segmented,
        maps=RegionMaps.read(run.job, start, stop),
        foreground=evaluated_foreground(run.settings, segment.array("foreground").rows(start, stop)),
        attention=extract.array("attention").rows(start, last),
        tokens=extract.array("tokens").rows(start, last),
        logits=None if language is None else language.array("logits").rows(start, last),
        evaluate_split=split,
    )


@dataclass(frozen=True)
class Photograph:
    """One segmented photograph with its ground truth and its cached arrays.

    Attributes:
        run: the run.
        shard: the shard that the photograph is in.
        image: entry of the index: row, id, size, splits.
        mask: ``[H, W]`` class of every pixel; None without ground truth of classes that can be used.
        segmentations: ``[H, W]`` regions of each annotator; empty without annotators or outside the
            evaluated split.

    """

    run: EvaluatedRun
    shard: Shard
    image: IndexedImage
    mask: npt.NDArray[np.uint8] | None
    segmentations: Sequence[npt.NDArray[np.uint16]]

    @property
    def row(self) -> int:
        """Row of the photograph in the arrays of the shard."""
        return self.image.row - self.shard.start

    @property
    def evaluated(self) -> bool:
        """Whether the photograph is in the evaluated split. Only then the shard surely has its tokens."""
        return self.shard.is_evaluated(self.image)

    @cached_property
    def labels(self) -> npt.NDArray[np.uint8]:
        """``[H, W]`` region of every pixel, at the size of the photograph."""
        return self.shard.maps.of(self.image)

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """``[k]`` whether a region is foreground."""
        found: npt.NDArray[np.bool_] = self.shard.foreground[self.row]
        return found

    @property
    def attention(self) -> npt.NDArray[np.float16]:
        """``[h, n]`` attention of the CLS token."""
        found: npt.NDArray[np.float16] = self.shard.attention[self.row]
        return found

    @property
    def tokens(self) -> npt.NDArray[np.float16]:
        """``[n, d]`` tokens."""
        found: npt.NDArray[np.float16] = self.shard.tokens[self.row]
        return found

    @property
    def logits(self) -> npt.NDArray[np.float16] | None:
        """``[m, C - 1]`` cosines of patches and classes; None without a language model."""
        return None if self.shard.logits is None else self.shard.logits[self.row]


def open_photograph(run: EvaluatedRun, shard: Shard, image: IndexedImage) -> tuple[Photograph, str]:
    """Read the ground truth of a photograph.

    Returns:
        The photograph, and what is wrong with its ground truth: then it has none.

    """
    try:
        segmentations: Sequence[npt.NDArray[np.uint16]] = ()
        if run.dataset.has_segmentations and image.labelled and shard.is_evaluated(image):
            segmentations = read_segmentations(run.dataset, image)
        return Photograph(run, shard, image, read_mask(run.dataset, image), segmentations), ""
    except InvalidMaskError as error:
        return Photograph(run, shard, image, None, ()), str(error)
