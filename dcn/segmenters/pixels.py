"""The intuitive way of the paper's introduction: the tokens of all images, clustered at once.

Every image has the same clusters, so a region is a class as well, and no image can have classes of its own.
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

# k-means++ chooses its start among the first tokens: those of 80 images of 784. 100 MB at a width of 384.
_START_TOKENS = 1 << 16


class PixelsSegmenter(Segmenter):
    """Tokens of all training photographs clustered at once: regions are classes already (section 1)."""

    regions_are_classes = True
    compared_at = "own"

    name: Literal["pixels"] = "pixels"
    num_clusters: RegionCount = Field(
        21, description="Number of clusters of the whole data set, background among them."
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
    """k-means on the directions of a stream of tokens, in the memory of a batch and of the start.

    The stream is read once; for several passes chain it with itself. Its order matters: images in random
    order are best.

    Args:
        batches: ``[b, n, d]`` each.
        num_clusters: ``K``.
        seed: of k-means++ and of what scikit-learn does with clusters that stay all but empty.

    Returns:
        ``[K, d]``. With fewer tokens than ``K`` some centers are equal, and the later one never wins.

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
        raise InvalidDatasetError("there are no tokens to cluster")
    first = np.concatenate(start)
    if len(first) < num_clusters:
        first = np.resize(first, (num_clusters, first.shape[1]))  # repeats the tokens
    model = MiniBatchKMeans(num_clusters, n_init=1, init_size=_START_TOKENS, random_state=seed)
    model.partial_fit(first)
    for directions in stream:
        model.partial_fit(directions)
    centers: npt.NDArray[np.float32] = model.cluster_centers_
    return centers


def pixel_assignment(
    tokens: npt.NDArray[np.float32], centers: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Each token of an image goes to the nearest center.

    Args:
        tokens: ``[n, d]``.
        centers: ``[K, d]`` of :func:`fit_pixel_clusters`.

    Returns:
        ``[n, K]``, see :func:`dcn.segmenters.assignment.assignment_of`.

    """
    from sklearn.preprocessing import normalize

    scores = center_scores(normalize(tokens), centers)
    return assignment_of(scores.argmax(axis=1), scores, len(centers))
