"""The regions of photographs, found or true, as one table, joined from the checkpoints of several stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.evaluation.protocols import Regions, join_regions
from dcn.evaluation.true_regions import true_regions
from flows.inputs.foreground import evaluated_foreground
from flows.inputs.image_index import open_index
from flows.inputs.region_embeddings import embedding_reader
from flows.stage import Job
from storage.arrays import ArrayReader

# Reads the regions of the photographs in some rows, in blocks of photographs; at least one block.
ReadBlocks = Callable[[Job, npt.NDArray[np.int64]], Iterator[Regions]]

# Photographs whose regions are read together.
_BLOCK = 512


def read_regions(job: Job, rows: npt.NDArray[np.int64]) -> Regions:
    """Read all regions of the photographs in ``rows``. See :func:`region_blocks`."""
    return join_regions(list(region_blocks(job, rows)))


def region_blocks(job: Job, rows: npt.NDArray[np.int64]) -> Iterator[Regions]:
    """Read the regions of the photographs in ``rows``, in blocks of photographs.

    Without ground truth the overlap has one column of zeros. Without the stage ``embed`` the embeddings have
    the width 0.

    Yields:
        At least one block, which may be empty.

    """
    labelled = bool(open_index(job).class_names)
    return _found_regions(job, rows, job.checkpoint("evaluate").array("overlap") if labelled else None)


def blocks_without_truth(job: Job, rows: npt.NDArray[np.int64]) -> Iterator[Regions]:
    """Read the same as :func:`region_blocks` before ``evaluate`` has run, as if there was no ground truth."""
    return _found_regions(job, rows, None)


def _found_regions(job: Job, rows: npt.NDArray[np.int64], overlap: ArrayReader | None) -> Iterator[Regions]:
    segment = job.checkpoint("segment")
    area, foreground = segment.array("area"), segment.array("foreground")
    embedding = None if job.settings.regions_are_classes else embedding_reader(job, "embed")
    for block in _blocks(rows):

        def read(array: Any, block: npt.NDArray[np.int64] = block) -> Any:
            return array.read_ahead(block).result()

        place, index = np.nonzero(read(area) > 0)
        yield Regions(
            image=block[place],
            index=index,
            overlap=np.zeros((len(place), 1), np.int64) if overlap is None else read(overlap)[place, index],
            foreground=evaluated_foreground(job.settings, read(foreground)[place, index]),
            embedding=np.zeros((len(place), 0), np.float32)
            if embedding is None
            else embedding(block)[place, index],
        )


def read_true_regions(job: Job, rows: npt.NDArray[np.int64]) -> Regions:
    """Read all true regions of the photographs in ``rows``. See :func:`true_region_blocks`."""
    return join_regions(list(true_region_blocks(job, rows)))


def true_region_blocks(job: Job, rows: npt.NDArray[np.int64]) -> Iterator[Regions]:
    """Read the true regions of the photographs in ``rows``, in blocks of photographs.

    The pixels of a class are those that all found regions have in it, so a photograph has true regions only
    if it has found ones. The arrays of the protocol ``upper_bound`` and of the stage ``embed_truth`` must be
    complete.

    Yields:
        At least one block, which may be empty.

    """
    overlap = job.checkpoint("evaluate").array("overlap")  # [N, k, C]
    embedding = embedding_reader(job, "embed_truth")
    for block in _blocks(rows):
        pixels = overlap.read_ahead(block).result().sum(axis=1)  # [b, C]
        regions = true_regions(block, pixels, embedding(block))
        yield replace(regions, foreground=evaluated_foreground(job.settings, regions.foreground))


def _blocks(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    return np.array_split(rows, max(1, -(-len(rows) // _BLOCK)))
