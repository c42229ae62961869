"""Clustering of the tokens of all images at once, the "most intuitive way" of the paper's introduction.

All images share the clusters, so a region is a class as well, and no image has clusters of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dcn.errors import InvalidDatasetError
from dcn.options import RegionCount
from dcn.segmenters.assignment import assignment_of, center_scores
from dcn.segmenters.segmenter import SEED, Floats, Segmenter, Shared

# k-means++ chooses the initial centers among the first tokens: those of 80 images with 784 tokens each, which
# take 100 MB at a width of 384.
_START_TOKENS = 1 << 16


class PixelsSegmenter(Segmenter):
    """Clusters of the tokens of all training photographs: regions are classes already (section 1)."""

    regions_are_classes = True
    compared_at = "own"

    name: Literal["pixels"] = "pixels"
    num_clusters: RegionCount = Field(
        21, description="Number of clusters in the whole data set, background among them."
    )

    def columns(self, num_prototypes: int) -> int:
        return self.num_clusters

    def fit(self, batches: Iterable[npt.NDArray[np.float16]]) -> npt.NDArray[np.float32]:
        return fit_pixel_clusters(batches, self.num_clusters, SEED)

    def assign(self, tokens: Floats, shared: Shared, colors: Floats | None) -> Floats:
        assert shared.fitted is not None
        return pixel_assignment(tokens, shared.fitted.astype(np.float32, copy=False))


def fit_pixel_clusters(
    batches: Iterable[npt.NDArray[np.floating]], num_clusters: int, seed: int
) -> npt.NDArray[np.float32]:
    """Cluster a stream of tokens by their directions with mini-batch k-means.

    The memory holds one batch, and the first 65,536 tokens while they initialize the centers. The stream is
    read once. Its order matters: images should come in random order.

    Args:
        batches: tokens ``[b, n, d]`` each.
        num_clusters: number of clusters ``K``.
        seed: random seed of k-means++, and of the reassignment of nearly empty clusters.

    Returns:
        ``[K, d]`` cluster centers. With fewer than ``K`` tokens some centers are equal, and the later one of
        equal centers never wins.

    Raises:
        InvalidDatasetError: the stream is empty.

    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.preprocessing import normalize

    stream = (normalize(batch.reshape(-1, batch.shape[-1]).astype(np.float32)) for batch in batches)
    start: list[npt.NDArray[np.float32]] = []
    for directions in stream:
        start.append(directions)
        if sum(map(len, start)) >= _START_TOKENS:
            break
    if not start:
        raise InvalidDatasetError("there are no tokens to cluster; add photographs to the training split")
    first = np.concatenate(start)
    if len(first) < num_clusters:
        first = np.resize(first, (num_clusters, first.shape[1]))  # [K, d]; the tokens repeat
    model = MiniBatchKMeans(num_clusters, n_init=1, init_size=_START_TOKENS, random_state=seed)
    model.partial_fit(first)
    for directions in stream:
        model.partial_fit(directions)
    centers: npt.NDArray[np.float32] = model.cluster_centers_
    return centers


def pixel_assignment(
    tokens: npt.NDArray[np.float32], centers: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Assign each token of an image to the nearest cluster center.

    Args:
        tokens: ``[n, d]``.
        centers: ``[K, d]`` from :func:`fit_pixel_clusters`.

    Returns:
        ``[n, K]``, see :func:`dcn.segmenters.assignment.assignment_of`.

    """
    from sklearn.preprocessing import normalize

    scores = center_scores(normalize(tokens), centers)
    return assignment_of(scores.argmax(axis=1), scores, len(centers))
