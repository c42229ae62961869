"""Rows and columns of pictures: what the figures are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

RGB = npt.NDArray[np.uint8]

_DPI = 150
_TITLE_INCHES = 0.3
# A panorama and a portrait have room to the sides of them, instead of a row that is a line or a page.
_FLATTEST, _TALLEST = 0.5, 1.0
# More than the pixels of a cell; a figure keeps what it shows in memory until it is drawn.
_LONGEST_SIDE = 600


def picture_grid(
    aspects: Sequence[float], columns: int, cell_inches: float, text_inches: float = 0
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of cells without ticks and frames, packed tightly.

    It is a figure of its own and not one of ``pyplot``: nothing is registered, nothing global changes.

    Args:
        aspects: height by width of the cells of each row.
        columns: cells in a row.
        cell_inches: width of a cell.
        text_inches: height of what is written between and below the rows.

    Returns:
        The figure, and the cells of each row.

    """
    height = cell_inches * sum(aspects) + _TITLE_INCHES + text_inches
    figure = Figure(figsize=(cell_inches * columns, height), dpi=_DPI, layout="compressed")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.04, h_pad=0.04, wspace=0, hspace=0)  # type: ignore[call-arg]
    rows = figure.subplots(len(aspects), columns, squeeze=False, height_ratios=aspects).tolist()
    for aspect, cells in zip(aspects, rows, strict=True):
        for cell in cells:
            cell.set_box_aspect(aspect)
            cell.set_axis_off()
    return figure, rows


def cell_aspect(photographs: Sequence[RGB]) -> float:
    """Height by width of cells for these photographs ``[H, W, 3]``: that of the tallest, within reason."""
    tallest = max(photograph.shape[0] / photograph.shape[1] for photograph in photographs)
    return float(np.clip(tallest, _FLATTEST, _TALLEST))


def reduced(picture: RGB) -> RGB:
    """A picture ``[H, W, 3]``, averaged over squares of pixels where it has more than a cell can show."""
    factor = max(picture.shape[:2]) // _LONGEST_SIDE
    return np.asarray(Image.fromarray(picture).reduce(factor)) if factor > 1 else picture


def show(cell: Axes, picture: RGB) -> None:
    """Show a picture ``[H, W, 3]`` in the middle of a cell."""
    cell.imshow(reduced(picture))
    keep_box(cell)


def keep_box(cell: Axes) -> None:
    """Leave room around a picture, not around its cell, so that all cells of a row are alike."""
    cell.set_aspect("equal", adjustable="datalim")


def plain(text: str) -> str:
    """Text of a user, of which matplotlib takes nothing for mathematics."""
    return text.replace("$", r"\$")
