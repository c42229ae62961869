"""TokenCut (Wang et al., CVPR 2022), and again on what is left, as MaskCut (CutLER, Wang et al., CVPR 2023).

The graph of the tokens has affinity 1 where a cosine exceeds a threshold and 1e-5 elsewhere. Its second
smallest eigenvector, split at its mean, halves the tokens; the half with the entry of largest absolute value
is the foreground. The foreground leaves the graph, and the next cut is made in the rest, until there are
``k - 1`` foregrounds or the graph has nothing to cut. The last region is what no foreground took.

What differs from MaskCut:

- It leaves the tokens that it found in the graph, joined to every other by 1e-5. There they are a cheap cut
  of their own, about as large as the share of tokens that are left, and the next eigenvector tends to find
  them again: in 37 of 40 photographs (focus-s14, blocks 10 and 12) the second cut took nothing new.
- It keeps of a foreground only the connected piece with the largest entry, drops one of less than 1 % of the
  image, and takes the other half if the foreground holds three corners of the image. Here a region may lie in
  pieces, as with other segmenters, and the eigenvector alone says which half is foreground, as in TokenCut.
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
    """Normalized cuts, repeated on the tokens that are left: TokenCut, MaskCut."""

    name: Literal["ncut"] = "ncut"
    num_regions: RegionCount = 5

    def columns(self, num_prototypes: int) -> int:
        return self.num_regions

    def assign(self, tokens: Floats, shared: Shared, colors: Floats | None) -> Floats:
        return ncut_assignment(tokens, self.num_regions)


def ncut_assignment(
    tokens: npt.NDArray[np.float32], num_regions: int, threshold: float = 0.2
) -> npt.NDArray[np.float32]:
    """Regions by repeated normalized cuts.

    How far a token lies on its side of a cut is a matter of degree. It is in region ``c`` as far as it is in
    the foreground of cut ``c`` and outside those before: the minimum of these degrees, which upsamples to the
    borders of the cuts.

    Args:
        tokens: ``[n, d]``.
        num_regions: ``k``. Columns 0 to k - 2 are the foregrounds in the order in which they were found,
            column k - 1 is the rest; with fewer cuts the columns in between do not occur.
        threshold: cosine from which two tokens are alike (tau).

    Returns:
        ``[n, k]``, see :func:`dcn.segmenters.assignment.assignment_of`.

    """
    from sklearn.preprocessing import normalize

    unit = normalize(tokens.astype(np.float64))
    affinity = np.where(unit @ unit.T > threshold, 1.0, _WEAK)
    labels = np.full(len(tokens), num_regions - 1)
    scores = np.zeros((len(tokens), num_regions))
    outside = np.ones(len(tokens))  # degree to which a token is in no foreground so far
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
    """Degree in [-1, 1] to which each token is foreground, ``[n]``; all 0 if there is nothing to cut."""
    from dcn.segmenters.laplacian import laplacian_eigenvectors

    vector = laplacian_eigenvectors(affinity, 1).sum(axis=1)  # a single token has no column
    degree: npt.NDArray[np.float64] = vector - vector.mean()
    if degree[np.abs(vector).argmax()] < 0:
        degree = -degree
    degree /= max(np.abs(degree).max(), np.finfo(np.float64).tiny)
    return degree
