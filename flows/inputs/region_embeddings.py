"""Embeddings of regions as the evaluation and the report read them: whitened, if the run whitens them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcn.clustering import has_direction
from flows.errors import EmptyDatasetError
from flows.inputs.foreground import evaluated_foreground
from flows.inputs.image_index import evenly_spread, open_index
from flows.stage import Job

if TYPE_CHECKING:
    from dcn.whitening import TokenWhitening

# Reads the embeddings [b, k, d] of the regions of the photographs in some rows.
ReadEmbeddings = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]

_WHITENING = "region_whitening.safetensors"
# Photographs whose embeddings are read together.
_BLOCK = 512


def embedding_reader(job: Job, stage: str) -> ReadEmbeddings:
    """Make a function that reads embeddings.

    Args:
        job: the run. If it whitens, :func:`fit_region_whitening` was called.
        stage: ``embed`` for found regions, ``embed_truth`` for true ones. Both have the same whitening.

    """
    array = job.checkpoint(stage).array("embedding")
    if not job.settings.whitens:
        return lambda rows: array.read_ahead(rows).result()
    from dcn.whitening import whiten_known

    whitening = _load(job)
    return lambda rows: whiten_known(whitening, array.read_ahead(rows).result())


def fit_region_whitening(job: Job, stage: str) -> None:
    """Fit the whitening on the foreground regions of the training split, and write its file.

    No label is read. The regions are those of ``evaluate.sampled_images`` photographs, as for k-means. Fewer
    directions are kept than there are regions.

    Args:
        job: the run.
        stage: the stage that is about to read embeddings. Nothing is done if the run does not whiten, or if
            an earlier stage has fitted. A resumed stage keeps its own file, from which its clusters are made.

    Raises:
        EmptyDatasetError: the training split has no region with an embedding.

    """
    if not job.settings.whitens or stage != _fitted_by(job) or job.checkpoint(stage).has_file(_WHITENING):
        return
    import torch
    from safetensors.torch import save

    from dcn.whitening import TokenWhitening

    index = open_index(job)
    split = index.summary.train_split
    rows = evenly_spread(index.split_rows(split), job.settings.evaluate.sampled_images)
    foreground, embedding = (
        job.checkpoint("segment").array("foreground"),
        job.checkpoint("embed").array("embedding"),
    )
    known = []
    for block in np.array_split(rows, max(1, -(-len(rows) // _BLOCK))):
        chosen = evaluated_foreground(job.settings, foreground.read_ahead(block).result())  # [b, k]
        vectors = embedding.read_ahead(block).result()[chosen]  # [r, d]
        known.append(vectors[has_direction(vectors)])
    regions = np.concatenate(known)  # [m, d]
    if not len(regions):
        raise EmptyDatasetError(
            f"embed.whiten needs the embeddings of foreground regions of the split {split}, and there are "
            f"none; set embed.whiten to false"
        )
    whitening = TokenWhitening(regions.shape[1], min(_wanted_directions(job), max(1, len(regions) - 1)))
    whitening.fit(torch.from_numpy(regions))
    job.checkpoint(stage).write_file(_WHITENING, save(whitening.state_dict()))


def find_region_whitening(job: Job) -> TokenWhitening | None:
    """Read the whitening of a run whose classes are known; None if it does not whiten."""
    return _load(job) if job.checkpoint(_fitted_by(job)).has_file(_WHITENING) else None


def lost_directions(job: Job) -> str:
    """Say if the whitening has fewer directions than the settings ask for; else empty."""
    wanted, width = _wanted_directions(job), _load(job).width
    if width == wanted:
        return ""
    return (
        f"embed.whiten asks for {wanted} directions, and the foreground regions of the split "
        f"{open_index(job).summary.train_split} suffice for {width}, so there are no more"
    )


def _load(job: Job) -> TokenWhitening:
    from safetensors.torch import load

    from dcn.whitening import whitening_of

    return whitening_of(load(job.checkpoint(_fitted_by(job)).read_file(_WHITENING)))


def _fitted_by(job: Job) -> str:
    """Name the first stage that reads the embeddings. It fits the whitening, and later stages read it."""
    return "distill" if "distill" in job.keys else "evaluate"


def _wanted_directions(job: Job) -> int:
    dim: int = job.checkpoint("embed").array("embedding").shape[2]
    whiten = job.settings.embed.whiten
    return dim if whiten is True else min(int(whiten), dim)
