"""The smallest eigenvectors of the normalized Laplacian of a graph, which is what a normalized cut needs.

``(D - W) x = lambda D x`` (Shi and Malik, 2000) is ``D^-1/2 W D^-1/2 y = (1 - lambda) y`` with
``y = D^1/2 x``: a symmetric problem, several times faster. Its first solution is known beforehand: ``x``
constant, ``lambda = 0``. It is taken out of the matrix rather than dropped from the result, because a graph
in pieces has ``lambda = 0`` several times, and then which vector comes first is chance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

# Below this 1 - lambda there is no structure, only rounding: any vector is as good as any other.
_SMALLEST_EIGENVALUE = 1e-8


def laplacian_eigenvectors(affinity: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Solutions of ``(D - W) x = lambda D x`` after the constant one, smallest ``lambda`` first.

    Args:
        affinity: ``W``, ``[n, n]``, symmetric, not negative.
        count: at most ``n - 1`` are returned.

    Returns:
        ``[n, count]``, scaled to a mean square of 1 under the degrees. A token of degree 0 has 0 everywhere,
        and so has a whole column that says nothing, as those of a graph with all affinities equal.

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
