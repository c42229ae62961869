"""Confidence intervals of metrics by the bootstrap over images (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dcn.options import Options

RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)
_SEED = 0


class Interval(Options):
    """Confidence interval of 95 %. JSON."""

    low: float
    high: float


def bootstrap_interval(statistic: Callable[[npt.NDArray[np.int64]], float], images: int) -> Interval | None:
    """Compute the percentile interval of a statistic over images that are drawn with replacement.

    The images are drawn with a fixed seed, so equal images give equal intervals.

    Args:
        statistic: computes the statistic of the drawn rows ``[images]``; NaN if it is not defined.
        images: number of images.

    Returns:
        The interval of the resamples in which the statistic is defined; None if there is no such resample, or
        below two images.

    """
    if images < 2:
        return None
    rng = np.random.default_rng(_SEED)
    values = np.array([statistic(rng.integers(images, size=images)) for _ in range(RESAMPLES)])
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, _PERCENTILES)
    return Interval(low=float(low), high=float(high))


def mean_interval(values: npt.NDArray[np.float64]) -> Interval | None:
    """Compute the interval of the mean of one value of each image, ``[N]``; None below two images."""
    return bootstrap_interval(lambda rows: float(values[rows].mean()), len(values))
