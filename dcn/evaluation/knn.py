"""Classify regions by weighted k-NN retrieval from a bank of labelled regions (section 4.4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEIGHBORS = (1, 3, 5, 10)  # Table 2
# Queries in one search. This bounds the memory of the result; scikit-learn splits the bank itself.
_BLOCK = 4096


def majority_classes(overlap: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Find the most overlapping ground-truth class of each region; background is a class too (section 4.4).

    Args:
        overlap: ``[R, C]`` pixels in each class (:func:`dcn.evaluation.overlap.region_overlap`).

    Returns:
        ``[R]`` classes; the first among equal ones, and -1 for a region without a labelled pixel.

    """
    return np.where(overlap.any(axis=1), overlap.argmax(axis=1), -1)


class RegionBank:
    """Bank of labelled regions for k-NN classification (section 4.4).

    Args:
        embeddings: ``[M, d]``. Regions with an embedding of zeros are left out, because it has no direction.
        classes: ``[M]`` from :func:`majority_classes`. Regions with -1 are left out.
        images: ``[M]`` number of the image of each region.

    """

    def __init__(
        self,
        embeddings: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int64],
        images: npt.NDArray[np.int64],
    ) -> None:
        from sklearn.neighbors import NearestNeighbors
        from sklearn.preprocessing import normalize

        known = np.flatnonzero((classes >= 0) & embeddings.any(axis=1))
        self._classes, self._images = classes[known], images[known]
        # Unit vectors have the same order by distance as by cosine, and the search has bounded memory.
        self._search = NearestNeighbors(algorithm="brute")
        if len(known):
            self._search.fit(normalize(embeddings[known], copy=False))

    def classify(
        self,
        queries: npt.NDArray[np.float32],
        query_images: npt.NDArray[np.int64],
        neighbors: tuple[int, ...] = NEIGHBORS,
    ) -> dict[int, npt.NDArray[np.int64]]:
        """Classify region embeddings by weighted k-NN, for several k in one search.

        Each of the k most similar regions votes for its class with its cosine similarity; a negative cosine
        is a vote of 0. Among classes with equal votes, the class of the nearest neighbor wins. If fewer than
        k neighbors exist, all of them vote. Without any neighbor the class is 0, the background.

        Args:
            queries: ``[Q, d]``. An embedding of zeros has no neighbors.
            query_images: ``[Q]`` image of each query, in the numbering of the bank. Regions of the same image
                are no neighbors, so the bank may contain the queries.
            neighbors: values of k.

        Returns:
            Classes ``[Q]`` for each k.

        """
        from sklearn.preprocessing import normalize

        predicted = {k: np.zeros(len(queries), dtype=np.int64) for k in neighbors}
        directed = np.flatnonzero(queries.any(axis=1))
        if not len(self._classes) or not len(directed):
            return predicted
        # At most m of the nearest max(k) + m regions belong to the query's own image.
        shared = self._images[np.isin(self._images, query_images)]
        own = int(np.unique(shared, return_counts=True)[1].max(initial=0))
        most = max(neighbors)
        searched = min(len(self._classes), most + own)
        for start in range(0, len(directed), _BLOCK):
            rows = directed[start : start + _BLOCK]
            distance, nearest = self._search.kneighbors(normalize(queries[rows]), searched)  # [q, n] each
            same_image = self._images[nearest] == query_images[rows, None]
            # Regions of other images first; then by distance; at equal distance by place in the bank.
            order = np.lexsort((nearest, distance, same_image), axis=1)[:, :most]
            absent = np.take_along_axis(same_image, order, axis=1)
            cosine = 1 - np.take_along_axis(distance, order, axis=1) ** 2 / 2
            classes = np.where(absent, -1, self._classes[np.take_along_axis(nearest, order, axis=1)])
            votes = np.where(absent, 0, cosine.clip(min=0))
            for k in neighbors:
                predicted[k][rows] = _elect(classes[:, :k], votes[:, :k])
        return predicted


def _elect(classes: npt.NDArray[np.int64], votes: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Find the class with most votes ``[q]`` among neighbors ``[q, k]``, near to far; absent ones are -1."""
    same = classes[:, :, None] == classes[:, None, :]  # [q, k, k]
    total = (same * votes[:, None, :]).sum(axis=2)  # [q, k] votes for the class of each neighbor
    # argmax takes the first of equal totals, so the nearest neighbor decides.
    elected = np.take_along_axis(classes, total.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.maximum(elected, 0)
