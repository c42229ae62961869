"""All figures of the paper are deterministic, and their cells neither overlap nor leave the figure."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from dcn.figures.qualitative import qualitative_figure
from dcn.figures.retrieval import retrieval_figure
from dcn.figures.similarity import Query, TokenImage, similarity_figure
from dcn.figures.tokens_tsne import tokens_tsne_figure
from dcn.images.palette import class_palette
from tests.dcn.figures.examples import clustered, png, retrieved, rows_of, segmented

FIGURES: dict[str, Callable[[], Figure]] = {
    "tokens_tsne": lambda: tokens_tsne_figure([clustered(seed) for seed in range(3)]),
    "similarity": lambda: similarity_figure(
        [TokenImage(image.photograph, image.tokens) for image in map(clustered, range(3))],
        [Query(0, 7), Query(2, 30)],
    ),
    "qualitative": lambda: qualitative_figure(
        [segmented(i) for i in range(3)], ["ground", "red", "blue"], class_palette(), 255
    ),
    "retrieval": lambda: retrieval_figure([retrieved("red", "red", "blue"), retrieved(None, "red")]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_deterministic(name: str) -> None:
    assert png(FIGURES[name]()) == png(FIGURES[name]())


@pytest.mark.parametrize("name", FIGURES)
def test_cells_of_a_figure_neither_overlap_nor_leave_it(name: str) -> None:
    figure = FIGURES[name]()
    png(figure)
    boxes = [axes.get_position() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= 1
        assert box.y1 <= 1
        for other in boxes[:i]:
            apart_across = box.x0 >= other.x1 or other.x0 >= box.x1
            apart_down = box.y0 >= other.y1 or other.y0 >= box.y1
            assert apart_across or apart_down
    # All cells of a row have one size, whatever they show, and together they fill the width.
    columns = {"tokens_tsne": 3, "similarity": 4, "qualitative": 4, "retrieval": 3}[name]
    for row in rows_of(figure, columns):
        sizes = [cell.get_position().size for cell in row]
        np.testing.assert_allclose(sizes, [sizes[0]] * columns, atol=0.005)
        assert row[0].get_position().x0 < 0.02
        assert row[-1].get_position().x1 > 0.98


def test_figures_never_import_pyplot() -> None:
    code = (
        "import sys; from tests.dcn.figures.test_figures import FIGURES, png\n"
        "for make in FIGURES.values(): png(make())\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
