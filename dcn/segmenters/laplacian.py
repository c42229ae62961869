"""Eigenvectors of the normalized Laplacian of a graph with the smallest eigenvalues, for normalized cuts.

``(D - W) x = lambda D x`` (Shi and Malik, 2000) is ``D^-1/2 W D^-1/2 y = (1 - lambda) y`` with
``y = D^1/2 x``: a symmetric problem, which is several times faster to solve. Its first solution is known:
``x`` constant, ``lambda = 0``. This solution is subtracted from the matrix rather than dropped from the
result: a graph of several components has ``lambda = 0`` several times, and then the order of these
eigenvectors is arbitrary.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

# Below this 1 - lambda an eigenvector shows no structure of the graph, only rounding errors.
_SMALLEST_EIGENVALUE = 1e-8


def laplacian_eigenvectors(affinity: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Solve ``(D - W) x = lambda D x`` for the smallest ``lambda``, without the constant solution.

    Args:
        affinity: ``W``, ``[n, n]``, symmetric and not negative.
        count: number of eigenvectors; at most ``n - 1`` are returned.

    Returns:
        ``[n, count]``, smallest ``lambda`` first, scaled to a mean square of 1 weighted by the degrees.
        The row of a token with degree 0 is 0. The column of an eigenvector without information is 0, as in
        a graph whose affinities are all equal.

    """
    count = min(count, len(affinity) - 1)
    if count == 0:
        return np.zeros((len(affinity), 0))
    root = np.sqrt(affinity.sum(axis=1))
    inverse = np.divide(1, root, out=np.zeros_like(root), where=root > 0)
    total = max((root**2).sum(), np.finfo(np.float64).tiny)
    normalized = affinity * inverse[:, None] * inverse - np.outer(root, root) / total
    last = len(affinity) - 1
    values, vectors = eigh(
        normalized, subset_by_index=(last - count + 1, last), overwrite_a=True, check_finite=False
    )
    solutions: npt.NDArray[np.float64] = vectors * (values > _SMALLEST_EIGENVALUE) * inverse[:, None]
    solutions *= np.sqrt(total)
    return solutions[:, ::-1]
