"""The index of a run: gives every usable photograph the row number that all stages use."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.datasets import Item
from flows.inputs.summaries import IndexSummary
from flows.stage import Job
from storage import Checkpoint
from storage.key import digest


@dataclass(frozen=True)
class IndexedImage:
    """One usable photograph of the index.

    Attributes:
        row: its row in the arrays of all stages.
        item: its entry in the data set. A refused mask is left out.
        height, width: size of the upright photograph in pixels.
        digest: digest of the bytes of its file.
        truth_digest: digest of its ground truth (:func:`digest_truth`); None without usable ground truth.

    """

    row: int
    item: Item
    height: int
    width: int
    digest: str
    truth_digest: str | None

    @property
    def labelled(self) -> bool:
        return self.truth_digest is not None


class ImageIndex:
    """Reads the checkpoint of the stage ``index``, one part at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        manifest = checkpoint.require()
        self.summary = IndexSummary.of(manifest)
        ranges = (manifest.shard_range(part) for part in range(manifest.num_shards))
        left_out = self.summary.left_out_of_part
        self._ends = list(
            accumulate(stop - start - left_out.get(part, 0) for part, (start, stop) in enumerate(ranges))
        )
        self._part = lru_cache(maxsize=4)(self._read_part)

    def __len__(self) -> int:
        return self.summary.images

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.summary.class_names

    def images(self, start: int = 0, stop: int | None = None) -> Iterator[IndexedImage]:
        """List the photographs in the rows ``start`` to ``stop - 1``; None for ``stop`` means all rows."""
        stop = len(self) if stop is None else stop
        for part in range(bisect_right(self._ends, start), len(self._ends)):
            first = self._ends[part - 1] if part else 0
            if first >= stop:
                return
            yield from (image for image in self._part(part) if start <= image.row < stop)

    def image(self, row: int) -> IndexedImage:
        """Return the photograph of one row."""
        return next(self.images(row, row + 1))

    def split_rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the rows of the photographs of a split, sorted."""
        return np.fromiter((i.row for i in self.images() if split in i.item.splits), dtype=np.int64)

    @cached_property
    def true_labels(self) -> frozenset[int]:
        """Labels that occur in some mask of the data set."""
        parts = (self._checkpoint.read_record(part).info["labels"] for part in range(len(self._ends)))
        return frozenset(label for labels in parts for label in labels)

    def refused(self) -> Iterator[dict[str, Any]]:
        """List the refused photographs and masks: ``file`` and ``reason`` of each."""
        for part in range(len(self._ends)):
            yield from self._checkpoint.read_record(part).info["refused"]

    def _read_part(self, part: int) -> list[IndexedImage]:
        first = self._ends[part - 1] if part else 0
        images = self._checkpoint.read_record(part).info["images"]
        return [
            IndexedImage(
                row=row,
                item=Item(entry["id"], entry["image"], entry["mask"], tuple(entry["splits"])),
                height=entry["height"],
                width=entry["width"],
                digest=entry["digest"],
                truth_digest=entry["mask_digest"],
            )
            for row, entry in enumerate(images, start=first)
        ]


def evenly_spread(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Select ``count`` of the rows, evenly spread; all rows if there are not more."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)]


def digest_truth(drawn: Sequence[npt.NDArray[Any]]) -> str:
    """Compute the digest of a photograph's ground truth: its mask, or the regions of each annotator."""
    return digest(b"".join(labels.tobytes() for labels in drawn))


def open_index(job: Job) -> ImageIndex:
    """Open the index of a run."""
    return ImageIndex(job.checkpoint("index"))
