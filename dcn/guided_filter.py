"""The guided filter: it moves the borders of values to the edges of a photograph (He et al. 2013)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

Floats = npt.NDArray[np.float32]


class GuidedFilter:
    """Filters values by a color image (He, Sun and Tang, "Guided image filtering", equations 19 to 21).

    In each window, a linear function of the color approximates the values; a pixel gets the mean of the
    functions of all windows around it. The filter is linear in the values and keeps constants: if the values
    of a pixel sum to one over the channels, they still do afterwards. A guide without edges makes the filter
    a mean over a window, taken twice. What only the guide determines is computed once.

    Args:
        guide: ``[3, H, W]`` colors in [0, 1].
        radius: the window has ``2 radius + 1`` pixels a side. The image is mirrored at its border.
        epsilon: variance of the color, as a square of [0, 1], under which a difference is no edge.

    Example:
        >>> one_color = GuidedFilter(np.zeros((3, 1, 3), dtype=np.float32), radius=1, epsilon=1e-4)
        >>> one_color(np.array([[[0.0, 0.0, 9.0]]], dtype=np.float32))
        array([[[1., 3., 5.]]], dtype=float32)

    """

    def __init__(self, guide: Floats, radius: int, epsilon: float) -> None:
        self._guide, self._radius = guide, radius
        self._mean = _window_mean(guide, radius)  # [3, H, W]
        spread = np.empty((3, *guide.shape), dtype=np.float32)  # [3, 3, H, W]
        for row in range(3):  # the matrices are symmetric
            spread[row, row:] = self._covariance(guide[row:], guide[row], self._mean[row:], self._mean[row])
            spread[row:, row] = spread[row, row:]
        spread[np.arange(3), np.arange(3)] += epsilon
        self._inverse = _inverse(spread)

    def __call__(self, values: Floats) -> Floats:
        """Filter values ``[k, H, W]``. Returns ``[k, H, W]``."""
        value_mean = _window_mean(values, self._radius)  # [k, H, W]
        guide, mean = self._guide[:, None], self._mean[:, None]  # [3, 1, H, W]
        common = self._covariance(guide, values, mean, value_mean)  # [3, k, H, W]
        # einsum would go pixel by pixel, and sums of whole channels use vector registers.
        slope: Floats = sum(self._inverse[:, b, None] * common[b] for b in range(3))  # [3, k, H, W]
        offset = value_mean - np.einsum("akhw,ahw->khw", slope, self._mean)
        slope, offset = _window_mean(slope, self._radius), _window_mean(offset, self._radius)
        filtered: Floats = np.einsum("akhw,ahw->khw", slope, self._guide) + offset
        return filtered

    def _covariance(self, a: Floats, b: Floats, a_mean: Floats, b_mean: Floats) -> Floats:
        """Covariance of two images, which are broadcast against each other, in each window."""
        return _window_mean(a * b, self._radius) - a_mean * b_mean


def _window_mean(values: Floats, radius: int) -> Floats:
    """Mean over a square window around each pixel of ``[..., H, W]``."""
    rows: Floats = uniform_filter1d(values, 2 * radius + 1, axis=-2)
    mean: Floats = uniform_filter1d(rows, 2 * radius + 1, axis=-1)
    return mean


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
