"""The guided filter against ridge regression in every window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from dcn.guided_filter import GuidedFilter


def draw(seed: int, channels: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).random((channels, height, width), dtype=np.float32)


def by_ridge_regression(values: np.ndarray, guide: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """The definition: a linear function of the color for each window, and the mean of those around a pixel."""
    size, border = 2 * radius + 1, 2 * radius
    mirrored = ((0, 0), (border, border), (border, border))
    colors, targets = (np.pad(a.astype(float), mirrored, mode="symmetric") for a in (guide, values))
    height, width = guide.shape[1:]
    total = np.zeros(values.shape)
    for top in range(height + border):
        for left in range(width + border):
            window = (slice(None), slice(top, top + size), slice(left, left + size))
            ridge = Ridge(alpha=epsilon * size**2, solver="cholesky")
            ridge.fit(colors[window].reshape(3, -1).T, targets[window].reshape(len(values), -1).T)
            for row in range(max(0, top - border), min(height, top + 1)):
                for column in range(max(0, left - border), min(width, left + 1)):
                    total[:, row, column] += ridge.predict(guide[:, row, column][None].astype(float))[0]
    return total / size**2


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 0.1), (1, 1e-3), (2, 1e-2)])
def test_it_is_the_mean_of_ridge_regressions(radius: int, epsilon: float) -> None:
    values, guide = draw(0, 2, 7, 6), draw(1, 3, 7, 6)
    expected = by_ridge_regression(values, guide, radius, epsilon)
    np.testing.assert_allclose(GuidedFilter(guide, radius, epsilon)(values), expected, atol=1e-4)


def test_a_gray_photograph_needs_no_other_precision() -> None:
    """Its three channels are equal, so the covariance of the color is singular but for epsilon."""
    gray = np.repeat(draw(1, 1, 7, 6), 3, axis=0)
    values = draw(0, 2, 7, 6)
    expected = by_ridge_regression(values, gray, 1, 1e-4)
    np.testing.assert_allclose(GuidedFilter(gray, 1, 1e-4)(values), expected, atol=1e-3)


def test_a_guide_of_one_color_takes_the_mean_twice() -> None:
    values = draw(0, 2, 9, 8)
    padded = np.pad(values, ((0, 0), (2, 2), (2, 2)), mode="symmetric")
    rows = [
        padded[:, y : y + 9, x : x + 8] * (3 - abs(y - 2)) * (3 - abs(x - 2))
        for y in range(5)
        for x in range(5)
    ]
    filtered = GuidedFilter(np.full((3, 9, 8), 0.3, np.float32), radius=1, epsilon=1e-4)(values)
    np.testing.assert_allclose(filtered, sum(rows) / 81, atol=1e-5)


@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 9), st.floats(-3, 3), st.floats(0.1, 5))
def test_it_is_linear_and_keeps_constants(
    seed: int, channels: int, side: int, constant: float, factor: float
) -> None:
    values, guide = draw(seed, channels, side, side), draw(seed + 1, 3, side, side)
    values /= values.sum(axis=0)
    filtered = GuidedFilter(guide, 2, 1e-2)(values)
    np.testing.assert_allclose(filtered.sum(axis=0), 1, atol=1e-4)
    changed = GuidedFilter(guide, 2, 1e-2)((values * factor + constant).astype(np.float32))
    np.testing.assert_allclose(changed, filtered * factor + constant, atol=1e-3)
