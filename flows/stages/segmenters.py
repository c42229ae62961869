"""Run a segmenter on cached tokens: one image per thread, or in batches; and fit it where it learns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from dcn.segmenters import Segmenter, Shared
from flows.inputs.image_index import open_index
from flows.inputs.models import load_network
from flows.inputs.parallel import batched, in_threads
from flows.stage import Job

# Tokens [B, n, d] in, with the mean colors of the patches [B, n, 3] for some; assignments [B, n, k] out.
Segment = Callable[[npt.NDArray[np.float16], npt.NDArray[np.float32] | None], npt.NDArray[np.float32]]
# Images of a batch of the stream that a segmenter learns from.
_FIT_BATCH = 16
_FIT_SEED = 0
_FITTED = "fitted.npy"
# The limit of threads belongs to the process. Of two batches at once, the later one would keep the limit of
# the earlier one.
_one_batch = Lock()


def open_segmenter(job: Job) -> Segment:
    """Open the segmenter of a run. :func:`fit_segmenter` has run before."""
    segmenter, segment = job.settings.segment.segmenter, job.checkpoint("segment")
    shared = Shared(
        fitted=segment.read_values(_FITTED) if segment.has_file(_FITTED) else None,
        network=load_network(job) if segmenter.trained else None,
        resolution=job.settings.train.resolution,
    )
    if segmenter.batched:
        return lambda tokens, colors: segmenter.assign_batch(tokens, shared, colors)

    def of_image(
        row: int, tokens: npt.NDArray[np.float16], colors: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float32]:
        color = None if colors is None else colors[row]
        return segmenter.assign(tokens[row].astype(np.float32), shared, color)

    def of_images(
        tokens: npt.NDArray[np.float16], colors: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float32]:
        # An image is too small to be shared by threads: they would wait for each other most of the time.
        with _one_batch, threadpool_limits(1):
            rows = range(len(tokens))
            return np.stack(list(in_threads(partial(of_image, tokens=tokens, colors=colors), rows)))

    return of_images


def fit_segmenter(job: Job) -> None:
    """Let the segmenter learn what all images share, from the tokens of the training split."""
    checkpoint, segmenter = job.checkpoint("segment"), job.settings.segment.segmenter
    if type(segmenter).fit is Segmenter.fit or checkpoint.has_file(_FITTED):
        return
    index, extract = open_index(job), job.checkpoint("extract")
    rows = index.split_rows(index.summary.train_split)
    rows = rows[extract.array("present").rows(0, len(index))[rows]]
    shuffled = np.random.default_rng(_FIT_SEED).permutation(rows).tolist()
    tokens = extract.array("tokens")
    stream = (tokens.read_ahead(few).result() for few in batched(shuffled, _FIT_BATCH))
    fitted = segmenter.fit(stream)
    if fitted is not None:
        checkpoint.write_values(_FITTED, fitted)
