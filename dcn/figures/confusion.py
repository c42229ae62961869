"""Confusion matrices: which classes the pixels of each true class were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from dcn.figures.grid import plain

_INCHES = 4.6


def confusion_figure(
    matrices: Mapping[str, npt.NDArray[np.int64]], class_names: Sequence[str], columns: int = 2
) -> Figure:
    """Draw the confusion matrix of each protocol. A row shows a true class as shares of its pixels.

    Args:
        matrices: for each title ``[C, C]`` counts of pixels by predicted (row) and true (column) class.
        class_names: names of the ``C`` classes.
        columns: number of matrices side by side.

    """
    rows = -(-len(matrices) // columns)
    figure = Figure(figsize=(columns * _INCHES, rows * _INCHES), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    ticks, names = range(len(class_names)), [plain(name) for name in class_names]
    for cell, (title, matrix) in zip(cells, matrices.items(), strict=False):
        pixels = matrix.sum(axis=0)[:, None]
        shares = np.divide(matrix.T, pixels, out=np.zeros(matrix.shape), where=pixels > 0)
        cell.imshow(shares, vmin=0, vmax=1, cmap="viridis")
        cell.set_title(title, fontsize=9)
        cell.set_xticks(ticks, names, rotation=90, fontsize=6)
        cell.set_yticks(ticks, names, fontsize=6)
        cell.set_xlabel("predicted", fontsize=7)
        cell.set_ylabel("true", fontsize=7)
    for cell in cells[len(matrices) :]:
        cell.set_axis_off()
    return figure
