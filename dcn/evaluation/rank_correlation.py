"""Spearman's rank correlation, as the bootstrap needs it: without the p-value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def rank_correlation(first: Values, second: Values) -> float:
    """Compute Spearman's rho of two values of each image; equal values have the mean of their ranks.

    Args:
        first: ``[N]``.
        second: ``[N]``.

    Returns:
        rho in [-1, 1]; NaN if all values of one of them are equal, or if there are none.

    """
    a, b = _centered_ranks(first), _centered_ranks(second)
    spread = (a @ a) * (b @ b)
    return float(np.clip(a @ b / np.sqrt(spread), -1, 1)) if spread else float("nan")


def _centered_ranks(values: Values) -> Values:
    """Ranks ``[N]`` minus their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(counts) - (counts + len(values)) / 2)[places]
    return ranks
