"""Means over photographs of arrays in which NaN means that a photograph was not measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcn.evaluation.metrics import defined


def column_means(values: npt.NDArray[np.float32]) -> list[float | None]:
    """Average each column of ``[N, m]`` over the rows where it is not NaN; None if there is no such row."""
    return [
        defined(column[~np.isnan(column)].mean() if not np.isnan(column).all() else np.nan)
        for column in values.T.astype(np.float64)
    ]
