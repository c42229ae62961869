"""The grid of cells of a figure: aspect, size, and pictures that are averaged down."""

from itertools import pairwise

import numpy as np
import pytest

from dcn.figures.grid import cell_aspect, picture_grid, reduced, show
from tests.dcn.figures.examples import photograph, png


def test_the_aspect_of_cells_follows_the_tallest_photograph_within_limits() -> None:
    assert cell_aspect([photograph(0, (30, 40)), photograph(0, (20, 40))]) == 0.75
    assert cell_aspect([photograph(0, (10, 90))]) == 0.5
    assert cell_aspect([photograph(0, (10, 90)), photograph(0, (90, 10))]) == 1


def test_cells_have_the_requested_aspect() -> None:
    figure, rows = picture_grid([0.5, 1.0], 2, 1.5, gap_inches=0.2, bottom_inches=0.4)
    for row in rows:
        show(row[0], photograph(0))
        show(row[1], photograph(2))
    png(figure)
    for aspect, row in zip([0.5, 1.0], rows):
        for cell in row:
            width, height = cell.get_position().size * figure.get_size_inches()
            assert height / width == pytest.approx(aspect, rel=1e-3)


def test_text_has_its_room_between_and_below_the_rows() -> None:
    figure, rows = picture_grid([0.5, 1.0, 1.0], 2, 1.5, gap_inches=0.2, bottom_inches=0.4)
    total = figure.get_figheight()
    edges = [(box.y0 * total, box.y1 * total) for box in (row[0].get_position() for row in rows)]
    room = [above[0] - below[1] for above, below in pairwise(edges)]
    assert room == pytest.approx([0.2 + 2 * 0.04] * 2)  # and the margins of two cells
    assert edges[-1][0] == pytest.approx(0.4 + 0.04)


def test_a_large_photograph_is_averaged_down() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1260, 3)).astype(np.uint8)
    expected = pixels.reshape(15, 2, 630, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced(pixels) - expected).max() <= 0.5
    small = pixels[:, :1199]
    assert reduced(small) is small
