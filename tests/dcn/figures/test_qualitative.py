"""Figure 4: photographs with regions, classes and ground truth."""

import numpy as np
from matplotlib.colors import to_rgba

from dcn.figures.qualitative import qualitative_figure
from dcn.images.palette import class_palette, overlay, region_palette
from tests.dcn.figures.examples import IGNORED, SIZES, legend_of, png, rows_of, segmented


def test_a_row_shows_photograph_regions_classes_and_ground_truth() -> None:
    semantic = np.full(SIZES[0], 2, dtype=np.uint8)
    truth = np.zeros(SIZES[0], dtype=np.uint8)
    truth[:10] = 255
    photographs = [segmented(0, semantic=semantic, truth=truth), segmented(1), segmented(2)]
    figure = qualitative_figure(photographs, ["ground", "red", "blue"], class_palette(), 255)
    rows = rows_of(figure, 4)
    assert len(rows) == 3
    titles = ["photograph", "regions", "classes", "ground truth"]
    assert [cell.get_title() for cell in rows[0]] == titles
    for p, row in zip(photographs, rows):
        expected = [
            p.photograph,
            overlay(p.photograph, p.regions, region_palette()),
            class_palette()[p.semantic],
            class_palette()[p.truth],
        ]
        for cell, picture in zip(row, expected):
            np.testing.assert_array_equal(cell.images[0].get_array(), picture)
    legend = legend_of(figure)
    assert list(legend) == ["ground", "red", "blue", "ignored"]
    assert legend["ignored"] == IGNORED
    assert legend["red"] == to_rgba(tuple(class_palette()[1] / 255))


def test_the_legend_has_only_classes_that_occur_for_any_ignore_label() -> None:
    labels = np.full(SIZES[0], 2, dtype=np.uint8)
    labels[0] = 0
    figure = qualitative_figure(
        [segmented(0, semantic=labels, truth=labels)], ["void", "red", "blue"], class_palette(0), 0
    )
    legend = legend_of(figure)
    assert list(legend) == ["ignored", "blue"]
    assert legend["ignored"] == IGNORED


def test_without_ground_truth_classes_are_clusters() -> None:
    photographs = [segmented(1, truth=None), segmented(0, truth=None, semantic=None)]
    figure = qualitative_figure(photographs, [], class_palette(), 255)
    rows = rows_of(figure, 3)
    assert [cell.get_title() for cell in rows[0]] == ["photograph", "regions", "classes"]
    assert [len(row[2].images) for row in rows] == [1, 0]
    assert list(legend_of(figure)) == ["background", "cluster 1", "cluster 2"]


def test_without_classes_there_is_no_legend() -> None:
    figure = qualitative_figure([segmented(0, truth=None, semantic=None)], [], class_palette(), 255)
    assert len(rows_of(figure, 2)) == 1
    assert legend_of(figure) == {}
    assert png(figure)
