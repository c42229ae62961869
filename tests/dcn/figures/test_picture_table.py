"""Tables of pictures: every picture keeps its proportions, heads stand above, the legend below."""

import numpy as np
import numpy.typing as npt
import pytest

from dcn.figures.picture_table import picture_table

RED, BLUE = (np.array(color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))


def plain(height: int, width: int, color: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(color, (height, width, 3)).astype(np.uint8)


def extent(table: npt.NDArray[np.uint8], color: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """First and last row, and first and last column, of the pixels of a color."""
    rows, columns = np.nonzero((table == color).all(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_pictures_keep_their_proportions() -> None:
    table = picture_table([("wide", [plain(30, 90, RED)]), ("tall", [plain(400, 100, BLUE)])], cell_width=120)
    top, bottom, left, right = extent(table, RED)
    assert (right - left + 1, bottom - top + 1) == (120, 40)
    top, bottom, left, right = extent(table, BLUE)
    assert bottom - top + 1 == 150  # no row is taller than 1.25 cells
    assert (bottom - top + 1) / (right - left + 1) == pytest.approx(4, rel=0.02)
    middle = (left + right) / 2
    assert abs(middle - (6 + 126 + 60)) <= 1


def test_an_empty_cell_leaves_its_place_free() -> None:
    full = picture_table([("a", [plain(40, 40, RED)] * 2), ("b", [plain(40, 40, BLUE)] * 2)], cell_width=40)
    table = picture_table(
        [("a", [plain(40, 40, RED)] * 2), ("b", [None, plain(40, 40, BLUE)])], cell_width=40
    )
    assert table.shape == full.shape
    assert extent(table, BLUE)[0] > extent(full, BLUE)[0]


def test_heads_and_legend_are_text_on_white() -> None:
    bare = picture_table([("", [plain(40, 40, RED)])], cell_width=100)
    headed = picture_table([("regions", [plain(40, 40, RED)])], cell_width=100)
    assert bare.shape == headed.shape
    changed = np.nonzero((bare != headed).any(axis=2))[0]
    assert changed.size
    assert changed.max() < extent(headed, RED)[0]
    legend = picture_table([("", [plain(40, 40, RED)])], [("cat", BLUE)], cell_width=100)
    assert np.array_equal(legend[: len(bare)], bare)
    assert extent(legend, BLUE)[0] >= len(bare)


def test_a_long_legend_takes_several_lines() -> None:
    names = [f"a class with a long name {number}" for number in range(7)]
    few, many = (
        picture_table([("", [plain(40, 40, RED)])], [(name, BLUE) for name in names[:count]], cell_width=300)
        for count in (1, 7)
    )
    assert len(many) > len(few)
    assert many.shape[1] == few.shape[1]
