"""The guided filter: it moves the borders of values to the edges of a photograph (He et al. 2013)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

Floats = npt.NDArray[np.float32]


def guided_filter(values: Floats, guide: Floats, radius: int, epsilon: float) -> Floats:
    """Filter values by a color image (He, Sun and Tang, "Guided image filtering", equations 19 to 21).

    In each window, a linear function of the color approximates the values; a pixel gets the mean of the
    functions of all windows around it. The filter is linear in the values and keeps constants: if the values
    of a pixel sum to one over the channels, they still do afterwards. A guide without edges makes the filter
    a mean over a window, taken twice.

    Args:
        values: ``[k, H, W]``.
        guide: ``[3, H, W]`` colors in [0, 1].
        radius: the window has ``2 radius + 1`` pixels a side. The image is mirrored at its border.
        epsilon: variance of the color, as a square of [0, 1], under which a difference is no edge.

    Returns:
        ``[k, H, W]``.

    """
    color_mean = _window_mean(guide, radius)  # [3, H, W]
    value_mean = _window_mean(values, radius)  # [k, H, W]
    spread = _covariance(guide, guide, color_mean, color_mean, radius)  # [3, 3, H, W]
    spread[np.arange(3), np.arange(3)] += epsilon
    common = _covariance(guide, values, color_mean, value_mean, radius)  # [3, k, H, W]
    slope = np.einsum("abhw,bkhw->akhw", _inverse(spread), common)
    offset = value_mean - np.einsum("akhw,ahw->khw", slope, color_mean)
    slope, offset = _window_mean(slope, radius), _window_mean(offset, radius)
    filtered: Floats = np.einsum("akhw,ahw->khw", slope, guide) + offset
    return filtered


def _window_mean(values: Floats, radius: int) -> Floats:
    """Mean over a square window around each pixel of ``[..., H, W]``."""
    rows: Floats = uniform_filter1d(values, 2 * radius + 1, axis=-2)
    mean: Floats = uniform_filter1d(rows, 2 * radius + 1, axis=-1)
    return mean


def _covariance(a: Floats, b: Floats, a_mean: Floats, b_mean: Floats, radius: int) -> Floats:
    """Covariance of the channels of ``[a, H, W]`` and ``[b, H, W]`` in each window, ``[a, b, H, W]``."""
    return _window_mean(a[:, None] * b, radius) - a_mean[:, None] * b_mean


def _inverse(symmetric: Floats) -> Floats:
    """Inverse of each matrix of ``[3, 3, H, W]``, by cross products of its rows.

    The rows of a gray photograph are almost equal, so float32 would lose the difference.
    """
    first, second, third = symmetric.astype(np.float64)
    adjugate = np.stack(
        [np.cross(second, third, axis=0), np.cross(third, first, axis=0), np.cross(first, second, axis=0)]
    )
    inverse: Floats = (adjugate / (first * adjugate[0]).sum(axis=0)).astype(np.float32)
    return inverse
