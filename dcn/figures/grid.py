"""Grids of pictures, which the figures consist of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

RGB = npt.NDArray[np.uint8]

_DPI = 150
_TITLE_INCHES, _PAD_INCHES = 0.3, 0.04
# Smallest and largest height of a cell divided by its width. A panorama or a tall portrait leaves room free
# in its cell; otherwise its row would be a line or a page.
_FLATTEST, _TALLEST = 0.5, 1.0
# Pixels of the longest side of a picture, more than a cell shows. A figure keeps its pictures in memory until
# it is drawn.
_LONGEST_SIDE = 600


def picture_grid(
    aspects: Sequence[float],
    columns: int,
    cell_inches: float,
    gap_inches: float = 0,
    bottom_inches: float = 0,
) -> tuple[Figure, list[list[Axes]]]:
    """Create a figure of tightly packed cells without ticks and frames.

    The figure does not belong to ``pyplot``, so no global state changes. All places are known, so matplotlib
    does not have to draw the figure once to find them.

    Args:
        aspects: for each row the height of its cells divided by their width.
        columns: number of cells in a row.
        cell_inches: width of a cell in inches.
        gap_inches: height in inches of the text between two rows.
        bottom_inches: height in inches of what stands below the last row.

    Returns:
        The figure, and the cells of each row.

    """
    side = cell_inches - 2 * _PAD_INCHES  # of the picture in a cell
    heights = [side * aspect + 2 * _PAD_INCHES for aspect in aspects]
    width = cell_inches * columns
    height = _TITLE_INCHES + sum(heights) + gap_inches * (len(aspects) - 1) + bottom_inches
    figure = Figure(figsize=(width, height), dpi=_DPI)
    rows, bottom = [], height - _TITLE_INCHES + gap_inches
    for aspect, row_height in zip(aspects, heights, strict=True):
        bottom -= gap_inches + row_height
        lefts = [number * cell_inches + _PAD_INCHES for number in range(columns)]
        boxes = [
            (left / width, (bottom + _PAD_INCHES) / height, side / width, side * aspect / height)
            for left in lefts
        ]
        rows.append([figure.add_axes(box) for box in boxes])
    for cell in chain(*rows):
        cell.set_axis_off()
    return figure, rows


def cell_aspect(photographs: Sequence[RGB]) -> float:
    """Choose height divided by width of the cells for photographs ``[H, W, 3]``: the tallest's, in limits."""
    tallest = max(photograph.shape[0] / photograph.shape[1] for photograph in photographs)
    return float(np.clip(tallest, _FLATTEST, _TALLEST))


def reduced(picture: RGB) -> RGB:
    """Average a picture ``[H, W, 3]`` over squares of pixels, if it has more pixels than a cell shows."""
    factor = max(picture.shape[:2]) // _LONGEST_SIDE
    return np.asarray(Image.fromarray(picture).reduce(factor)) if factor > 1 else picture


def show(cell: Axes, picture: RGB) -> None:
    """Draw a picture ``[H, W, 3]`` in the middle of a cell."""
    cell.imshow(reduced(picture))
    keep_box(cell)


def keep_box(cell: Axes) -> None:
    """Leave free room inside the cell and not around it, so that all cells of a row have equal size."""
    cell.set_aspect("equal", adjustable="datalim")


def plain(text: str) -> str:
    """Escape the text of a user, so that matplotlib does not read dollar signs as mathematics."""
    return text.replace("$", r"\$")
