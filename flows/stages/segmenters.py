"""What finds the regions of an image: cached tokens in, an assignment out. One entry per segmenter.

The stages after ``segment`` read the same arrays whichever it was. They ask for two things only: whether an
assignment is one of cosines (the DCN's), and whether regions are classes already (those of ``pixels``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from dcn.modularity import cosine_assignment
from dcn.network import image_centers
from dcn.segmenters.kmeans import kmeans_assignment
from dcn.segmenters.louvain import louvain_assignment
from dcn.segmenters.ncut import ncut_assignment
from dcn.segmenters.pixels import fit_pixel_clusters, pixel_assignment
from dcn.segmenters.spectral import spectral_assignment
from flows.inputs.image_index import open_index
from flows.inputs.models import load_network
from flows.inputs.parallel import batched, in_threads
from flows.settings import (
    DCNSegmenter,
    KMeansSegmenter,
    ModularitySegmenter,
    NCutSegmenter,
    PixelsSegmenter,
    Settings,
    SpectralSegmenter,
)
from flows.stage import Job

Tokens = npt.NDArray[np.float16]
Assignment = npt.NDArray[np.float32]
Colors = npt.NDArray[np.float32]
# Tokens [B, n, d] in, and for some the mean colors of the patches [B, n, 3]; assignments [B, n, k] out.
Segmenter = Callable[[Tokens, Colors | None], Assignment]
# Images of a batch of the stream in which the clusters of all pixels are found, in one pass.
_PIXEL_BATCH = 16
# Images of a batch that are float32 at one time: more of them would leave the processor's cache, and memory
# that is fresh from the system costs more than the arithmetic.
_CONVERTED = 2
_one_batch = Lock()
_SEED = 0
_CENTERS = "centers.npy"


def open_segmenter(job: Job) -> Segmenter:
    """The segmenter of a run. What it needs besides the tokens is there: :func:`prepare_segmenter`."""
    chosen = job.settings.segment.segmenter
    assign: Callable[..., Assignment]
    match chosen:
        case DCNSegmenter():
            return _network(job)
        case KMeansSegmenter():
            assign = partial(kmeans_assignment, num_regions=chosen.num_regions, seed=_SEED)
        case NCutSegmenter():
            assign = partial(ncut_assignment, num_regions=chosen.num_regions)
        case ModularitySegmenter():
            assign = partial(
                louvain_assignment,
                num_regions=chosen.num_regions,
                seed=_SEED,
                resolution=job.settings.train.resolution,
            )
        case PixelsSegmenter():
            assign = partial(pixel_assignment, centers=job.checkpoint("segment").read_values(_CENTERS))
        case SpectralSegmenter():
            assign = partial(
                spectral_assignment,
                num_regions=chosen.num_regions,
                seed=_SEED,
                color_weight=chosen.color_weight,
            )

    def of_image(row: int, tokens: Tokens, colors: Colors | None) -> npt.NDArray[np.float32]:
        extra = {} if colors is None else {"colors": colors[row]}
        return assign(tokens[row].astype(np.float32), **extra)

    def of_images(tokens: Tokens, colors: Colors | None) -> Assignment:
        # An image is too small to be shared by threads: they would wait for each other most of the time. The
        # limit is one of the process: of two batches at once, the later would keep the limit of the earlier.
        with _one_batch, threadpool_limits(1):
            return np.stack(
                list(in_threads(partial(of_image, tokens=tokens, colors=colors), range(len(tokens))))
            )

    return of_images


def needs_colors(settings: Settings) -> bool:
    """Whether the segmenter looks at the photographs beside their tokens."""
    return settings.segment.segmenter.needs_colors


def prepare_segmenter(job: Job) -> None:
    """Find what all images share, where a segmenter has such a thing: the clusters of all pixels."""
    chosen, checkpoint = job.settings.segment.segmenter, job.checkpoint("segment")
    if not isinstance(chosen, PixelsSegmenter) or checkpoint.has_file(_CENTERS):
        return
    index, extract = open_index(job), job.checkpoint("extract")
    rows = index.split_rows(index.summary["train_split"])
    rows = rows[extract.array("present").rows(0, len(index))[rows]]
    shuffled = np.random.default_rng(_SEED).permutation(rows).tolist()
    tokens = extract.array("tokens")
    stream = (tokens.read_ahead(few).result() for few in batched(shuffled, _PIXEL_BATCH))
    checkpoint.write_values(_CENTERS, fit_pixel_clusters(stream, chosen.num_clusters, _SEED))


def _network(job: Job) -> Segmenter:
    network = load_network(job)
    device = network.prototypes.device

    @torch.inference_mode()
    def assign(tokens: Tokens, _: Colors | None) -> Assignment:
        stored = torch.from_numpy(tokens)  # [B, n, d] float16
        context = torch.empty(stored.shape, dtype=network.prototypes.dtype, device=device)
        for images, converted in zip(
            torch.split(stored, _CONVERTED), torch.split(context, _CONVERTED), strict=True
        ):
            converted.copy_(images.to(device).float())
        centers = image_centers(network, context)  # [B, k, d]
        assignment = [
            cosine_assignment(images.to(device).float(), of_images)
            for images, of_images in zip(
                torch.split(stored, _CONVERTED), torch.split(centers, _CONVERTED), strict=True
            )
        ]
        return np.concatenate([cosines.cpu().numpy() for cosines in assignment])  # [B, n, k]

    return assign
