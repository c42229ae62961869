"""Tables of pictures with column heads and a legend, as one picture. Quicker than a figure of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

RGB = npt.NDArray[np.uint8]

_GAP = 6
_LINE = 22
_TEXT = 14
_SQUARE = 12
# Largest height of a row divided by the width of a cell. A taller picture leaves room free in its cell.
_TALLEST = 1.25


def picture_table(
    columns: Sequence[tuple[str, Sequence[RGB | None]]],
    legend: Sequence[tuple[str, npt.NDArray[np.uint8]]] = (),
    cell_width: int = 200,
) -> RGB:
    """Put pictures into a table on white, each with its proportions.

    Args:
        columns: for each column its head, and its pictures ``[h, w, 3]`` from top to bottom; None leaves a
            cell empty. All columns have the same number of pictures.
        legend: names and colors ``[3]`` that stand below the table.
        cell_width: width of a column in pixels.

    Returns:
        ``[H, W, 3]`` uint8.

    Example:
        >>> red = np.full((20, 40, 3), (255, 0, 0), np.uint8)
        >>> picture_table([("photograph", [red]), ("regions", [None])], cell_width=80).shape
        (74, 178, 3)

    """
    rows = list(zip(*(pictures for _, pictures in columns), strict=True))
    heights = [_row_height(row, cell_width) for row in rows]
    width = _GAP + len(columns) * (cell_width + _GAP)
    lines = _legend_lines([name for name, _ in legend], width)
    height = _LINE + sum(heights) + (len(rows) + 1) * _GAP + _LINE * len(lines)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (head, _) in enumerate(columns):
        middle = _GAP + number * (cell_width + _GAP) + cell_width / 2
        draw.text((middle, _LINE / 2), head, "black", _font(), "mm")
    top = _LINE + _GAP
    for row, row_height in zip(rows, heights, strict=True):
        for number, picture in enumerate(row):
            if picture is not None:
                left = _GAP + number * (cell_width + _GAP)
                shown = _fitted(picture, cell_width, row_height)
                canvas.paste(shown, (left + (cell_width - shown.width) // 2, top))
        top += row_height + _GAP
    colors = iter(legend)
    for line in lines:
        for left in line:
            name, color = next(colors)
            square = (left, top + (_LINE - _SQUARE) // 2)
            draw.rectangle((*square, left + _SQUARE, square[1] + _SQUARE), tuple(color.tolist()), "gray")
            draw.text((left + _SQUARE + _GAP, top + _LINE / 2), name, "black", _font(), "lm")
        top += _LINE
    return np.asarray(canvas)


def _row_height(row: Sequence[RGB | None], cell_width: int) -> int:
    tallest = max((picture.shape[0] / picture.shape[1] for picture in row if picture is not None), default=0)
    return max(1, round(cell_width * min(tallest, _TALLEST)))


def _fitted(picture: RGB, width: int, height: int) -> Image.Image:
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)


def _legend_lines(names: Sequence[str], width: int) -> list[list[int]]:
    """Left edges of the entries of a legend, line by line."""
    lines: list[list[int]] = []
    right = width
    for name in names:
        needed = _SQUARE + 3 * _GAP + int(_font().getlength(name))
        if right + needed > width:
            lines.append([])
            right = _GAP
        lines[-1].append(right)
        right += needed
    return lines


@cache
def _font() -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, so that a picture looks the same on every machine."""
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), _TEXT)
