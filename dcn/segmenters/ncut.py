"""Repeated normalized cuts: TokenCut (Wang et al., CVPR 2022), repeated as in MaskCut (CutLER, CVPR 2023).

The graph of the tokens has affinity 1 where a cosine exceeds a threshold, and 1e-5 elsewhere. The
eigenvector with the second smallest eigenvalue, split at its mean, cuts the tokens into two parts. The part
with the entry of largest absolute value is the foreground. The foreground is removed from the graph, and the
rest is cut again, until there are ``k - 1`` foregrounds or there is nothing to cut. The last region holds
the tokens of no foreground.

Two differences from MaskCut:

- MaskCut does not remove a foreground from the graph. It joins its tokens to all others with 1e-5, which
  makes a cheap cut of them, and the next eigenvector tends to find them again: in 37 of 40 photographs
  (focus-s14, blocks 10 and 12) its second cut found nothing new.
- MaskCut keeps only the connected part of a foreground with the largest entry, drops a foreground of less
  than 1 % of the image, and takes the other part if the foreground holds three corners of the image. Here a
  region may have several connected parts, as with the other segmenters, and the eigenvector alone decides
  which part is foreground, as in TokenCut.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dcn.options import RegionCount
from dcn.segmenters.assignment import assignment_of
from dcn.segmenters.segmenter import Floats, Segmenter, Shared

_WEAK = 1e-5


class NCutSegmenter(Segmenter):
    """Normalized cuts, repeated on the remaining tokens: TokenCut, MaskCut."""

    name: Literal["ncut"] = "ncut"
    num_regions: RegionCount = 5

    def columns(self, num_prototypes: int) -> int:
        return self.num_regions

    def assign(self, tokens: Floats, shared: Shared, colors: Floats | None) -> Floats:
        return ncut_assignment(tokens, self.num_regions)


def ncut_assignment(
    tokens: npt.NDArray[np.float32], num_regions: int, threshold: float = 0.2
) -> npt.NDArray[np.float32]:
    """Divide the tokens of an image into regions by repeated normalized cuts.

    A token belongs to each side of a cut to a degree: its distance from the mean of the eigenvector. Its
    score for region ``c`` is the minimum of its degree in the foreground of cut ``c`` and its degrees
    outside the foregrounds before. Such scores keep the borders of the cuts when they are upsampled.

    Args:
        tokens: ``[n, d]``.
        num_regions: number of regions ``k``. Columns 0 to k - 2 are the foregrounds in the order in which
            they were found, column k - 1 is the rest. With fewer cuts the columns in between do not occur.
        threshold: two tokens are alike if their cosine is larger (tau).

    Returns:
        ``[n, k]``, see :func:`dcn.segmenters.assignment.assignment_of`.

    """
    from sklearn.preprocessing import normalize

    unit = normalize(tokens.astype(np.float64))
    affinity = np.where(unit @ unit.T > threshold, 1.0, _WEAK)
    labels = np.full(len(tokens), num_regions - 1)
    scores = np.zeros((len(tokens), num_regions))
    outside = np.ones(len(tokens))  # degree to which each token is in no foreground so far
    rest = np.arange(len(tokens))
    for region in range(num_regions - 1):
        degree = _foreground_degree(affinity[np.ix_(rest, rest)])
        if not degree.any():
            break
        scores[:, region] = outside
        scores[rest, region] = np.minimum(outside[rest], degree)
        outside[rest] = np.minimum(outside[rest], -degree)
        labels[rest[degree > 0]] = region
        rest = rest[degree <= 0]
    scores[:, -1] = outside
    return assignment_of(labels, scores, num_regions)


def _foreground_degree(affinity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cut a graph: ``[n]`` degree in [-1, 1] to which each token is foreground; 0 if there is no cut."""
    from dcn.segmenters.laplacian import laplacian_eigenvectors

    vector = laplacian_eigenvectors(affinity, 1).sum(axis=1)  # [n, 1] to [n]; a single token has [1, 0]
    degree: npt.NDArray[np.float64] = vector - vector.mean()
    if degree[np.abs(vector).argmax()] < 0:
        degree = -degree
    degree /= max(np.abs(degree).max(), np.finfo(np.float64).tiny)
    return degree
