"""Figure 5: the nearest regions of a region, and whether they have its class."""

import numpy as np
from matplotlib.colors import to_rgba

from dcn.figures.retrieval import RegionView, nearest_regions, region_crop, retrieval_figure
from tests.dcn.figures.examples import frame, legend_of, png, retrieved, rows_of


def test_frame_colors_show_whether_a_neighbor_has_the_class_of_the_query() -> None:
    figure = retrieval_figure([retrieved("red", "red", "blue", None), retrieved(None, "red", "blue", None)])
    rows = rows_of(figure, 4)
    assert [cell.get_title() for cell in rows[0]] == ["query", "1", "2", "3"]
    colors = [[frame(cell) for cell in row] for row in rows]
    black, green, red, gray = map(to_rgba, ("black", "limegreen", "red", "lightgray"))
    assert colors == [[black, green, red, gray], [black, gray, gray, gray]]
    assert [[cell.get_xlabel() for cell in row] for row in rows] == [
        ["red", "red", "blue", ""],
        ["", "red", "blue", ""],
    ]
    assert [[t.get_text() for t in cell.texts] for cell in rows[0]] == [[], ["0.90"], ["0.70"], ["0.50"]]
    assert list(legend_of(figure)) == ["same class", "another class"]


def test_without_known_classes_retrieval_has_no_legend() -> None:
    figure = retrieval_figure([retrieved(None, None), retrieved(None, "red")])
    assert legend_of(figure) == {}
    assert png(figure)


def test_rows_may_have_fewer_neighbors_or_none() -> None:
    figure = retrieval_figure([retrieved("red"), retrieved("red", "red", "red")])
    assert [[len(cell.images) for cell in row] for row in rows_of(figure, 3)] == [[1, 0, 0], [1, 1, 1]]
    alone = retrieval_figure([retrieved("red")])
    assert len(alone.axes) == 1
    assert png(alone)


def test_a_crop_is_the_box_of_the_region_with_pale_surroundings() -> None:
    pixels = np.full((8, 10, 3), (100, 50, 0), dtype=np.uint8)
    mask = np.zeros((8, 10), dtype=np.bool_)
    mask[2:5, 3:7] = True
    mask[3, 4] = False
    crop = region_crop(RegionView(pixels, mask, None))
    assert crop.shape == (3, 4, 3)
    inside = mask[2:5, 3:7]
    assert (crop[inside] == (100, 50, 0)).all()
    assert crop[1, 1].tolist() == [203, 203, 203]  # gray 50, a quarter of its distance from white


def test_nearest_regions_equal_plain_cosines() -> None:
    rng = np.random.default_rng(0)
    query, bank = rng.normal(size=8).astype(np.float32), rng.normal(size=(20, 8)).astype(np.float32)
    bank[3] = 0  # cosine 0
    bank[[5, 9]] = query * 3, query  # a tie: the first row comes first
    rows, cosines = nearest_regions(query, bank, 4)
    lengths = np.linalg.norm(bank, axis=1) * np.linalg.norm(query)
    plain = np.divide(bank @ query, lengths, out=np.zeros(20, np.float32), where=lengths > 0)
    assert set(rows[:2].tolist()) == {5, 9}
    np.testing.assert_allclose(cosines, plain[rows], atol=1e-6)
    np.testing.assert_allclose(cosines, np.sort(plain)[::-1][:4], atol=1e-6)
    everything, _ = nearest_regions(query, bank, 99)
    assert sorted(everything.tolist()) == list(range(20))
    assert len(nearest_regions(query, bank[:0], 5)[0]) == 0
