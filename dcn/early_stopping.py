"""Early stopping: training ends when the smoothed held-out modularity stands still."""

from __future__ import annotations

from collections.abc import Sequence

# Checks whose mean is one smoothed value. The weights change much between two checks while the rate is high.
SMOOTHED_CHECKS = 3
# Relative gain that counts as an improvement.
LEAST_GAIN = 0.002


def smoothed(values: Sequence[float]) -> list[float]:
    """Compute for each value the mean of it and of up to two values before it.

    Args:
        values: mean modularity of the held-out images at each check.

    Returns:
        One smoothed value for each check. Later checks do not change it.

    Example:
        >>> smoothed([3.0, 6.0, 9.0, 0.0])
        [3.0, 4.5, 6.0, 5.0]

    """
    windows = (values[max(0, i + 1 - SMOOTHED_CHECKS) : i + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def stands_still(values: Sequence[float], patience: int) -> bool:
    """Say whether the best smoothed value of the last checks is hardly above the best before them.

    Args:
        values: mean modularity of the held-out images at each check so far.
        patience: number of last checks, at least 1.

    Returns:
        True if they gained at most 0.2 %. False as long as there are only ``patience`` checks.

    Example:
        >>> stands_still([0.08, 0.10, 0.10, 0.10, 0.10], patience=2), stands_still([0.08, 0.10], patience=2)
        (True, False)

    """
    if len(values) <= patience:
        return False
    curve = smoothed(values)
    before = max(curve[:-patience])
    return max(curve[-patience:]) - before <= LEAST_GAIN * abs(before)
