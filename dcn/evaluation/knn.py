"""Region retrieval: a region takes the class of the labelled regions nearest to it (section 4.4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

NEIGHBORS = (1, 3, 5, 10)  # Table 2
# Queries of one search: bounds the memory of its result. scikit-learn cuts the bank itself.
_BLOCK = 4096


def majority_classes(overlap: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Label of each region: the most overlapping ground-truth class, background among them (section 4.4).

    Args:
        overlap: ``[R, C]`` pixels in each class (:func:`dcn.evaluation.overlap.region_overlap`).

    Returns:
        ``[R]``; of equal classes the first, and -1 for a region without a labelled pixel.

    """
    return np.where(overlap.any(axis=1), overlap.argmax(axis=1), -1)


def knn_classes(
    bank: npt.NDArray[np.float32],
    bank_class: npt.NDArray[np.int64],
    bank_image: npt.NDArray[np.int64],
    queries: npt.NDArray[np.float32],
    query_image: npt.NDArray[np.int64],
    neighbors: tuple[int, ...] = NEIGHBORS,
) -> dict[int, npt.NDArray[np.int64]]:
    """Weighted k-NN classification of region embeddings, for several k from one search (section 4.4).

    Each of the k most similar regions votes for its class with its cosine similarity. A negative cosine is
    a vote of 0. Of classes with equal votes, the one with the nearest neighbor wins. Where fewer than k
    neighbors exist, those vote; where none exists, the class is 0, the background.

    Args:
        bank: ``[M, d]`` labelled embeddings; all-zero ones have no direction and are left out.
        bank_class: ``[M]``, from :func:`majority_classes`; -1 is left out.
        bank_image: ``[M]`` image of each region, in one numbering with ``query_image``: a region is no
            neighbor of the regions of its own image, so bank and queries may be the same.
        queries: ``[Q, d]``; an all-zero one has no neighbors.
        query_image: ``[Q]``.
        neighbors: values of k.

    Returns:
        For each k the classes ``[Q]``.

    """
    predicted = {k: np.zeros(len(queries), dtype=np.int64) for k in neighbors}
    known = np.flatnonzero((bank_class >= 0) & bank.any(axis=1))
    directed = np.flatnonzero(queries.any(axis=1))
    if not len(known) or not len(directed):
        return predicted
    bank_class, bank_image = bank_class[known], bank_image[known]
    # Of the nearest max(k) + m, at most m are of the query's own image.
    shared = bank_image[np.isin(bank_image, query_image)]
    own = int(np.unique(shared, return_counts=True)[1].max(initial=0))
    most = max(neighbors)
    # The distance of unit vectors orders as their cosine does, and is searched in bounded memory.
    search = NearestNeighbors(n_neighbors=min(len(known), most + own), algorithm="brute")
    search.fit(normalize(bank[known], copy=False))
    for start in range(0, len(directed), _BLOCK):
        rows = directed[start : start + _BLOCK]
        distance, nearest = search.kneighbors(normalize(queries[rows]))  # [q, n] each
        same_image = bank_image[nearest] == query_image[rows, None]
        # Others before own ones; then by distance, and at equal distance by place in the bank.
        order = np.lexsort((nearest, distance, same_image), axis=1)[:, :most]
        absent = np.take_along_axis(same_image, order, axis=1)
        cosine = 1 - np.take_along_axis(distance, order, axis=1) ** 2 / 2
        classes = np.where(absent, -1, bank_class[np.take_along_axis(nearest, order, axis=1)])
        votes = np.where(absent, 0, cosine.clip(min=0))
        for k in neighbors:
            predicted[k][rows] = _elect(classes[:, :k], votes[:, :k])
    return predicted


def _elect(classes: npt.NDArray[np.int64], votes: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Class with most votes ``[q]``, of neighbors ``[q, k]`` from near to far; absent ones are -1."""
    same = classes[:, :, None] == classes[:, None, :]  # [q, k, k]
    total = (same * votes[:, None, :]).sum(axis=2)  # [q, k], votes for the class of each neighbor
    # argmax takes the first of equals, so the nearest neighbor decides.
    elected = np.take_along_axis(classes, total.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.maximum(elected, 0)
