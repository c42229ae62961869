"""The paper's figures: their content, layout and colors, for synthetic photographs of several sizes."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dcn.figures.grid import cell_aspect, picture_grid, reduced, show
from dcn.figures.qualitative import SegmentedPhotograph, qualitative_figure
from dcn.figures.retrieval import RegionView, Retrieval, nearest_regions, region_crop, retrieval_figure
from dcn.figures.similarity import Query, TokenImage, query_patch, similarity_figure
from dcn.figures.tokens_tsne import ClusteredImage, token_map, tokens_tsne_figure
from dcn.images.palette import class_palette, overlay, region_palette
from tests.conftest import draw_scene

SIZES = [(48, 64), (64, 48), (20, 90)]
IGNORED = (224 / 255, 224 / 255, 192 / 255, 1.0)


def photograph(seed: int, size: tuple[int, int] | None = None) -> np.ndarray:
    return draw_scene(seed, *(size or SIZES[seed % 3]))[0]


def clustered(seed: int, side: int = 6, k: int = 3, absent: tuple[int, ...] = ()) -> ClusteredImage:
    """Tokens around ``k`` random centers, none of them around the absent ones."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(k, 8)).astype(np.float32)
    present = [i for i in range(k) if i not in absent]
    tokens = centers[rng.choice(present, side * side)] + rng.normal(size=(side * side, 8)) * 0.2
    cosines = F.normalize(torch.tensor(tokens), dim=1) @ F.normalize(torch.tensor(centers).double(), dim=1).T
    assignment = cosines.numpy().astype(np.float16)
    assignment[:, list(absent)] = -1
    return ClusteredImage(photograph(seed), tokens.astype(np.float16), centers, assignment)


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return buffer.getvalue()


def rows_of(figure: Figure, columns: int) -> list[list[Axes]]:
    cells = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(cells) % columns == 0
    return [cells[i : i + columns] for i in range(0, len(cells), columns)]


def frame(cell: Axes) -> tuple[float, ...]:
    return to_rgba(cell.spines["left"].get_edgecolor())


def pixels_of(image: AxesImage) -> np.ndarray:
    return np.asarray(image.get_array())


def colors_of(points: Collection) -> np.ndarray:
    """RGB from 0 to 1 of each point ``[n, 3]``."""
    return np.asarray(points.get_facecolor(), dtype=float)[:, :3]


def places_of(points: Collection) -> np.ndarray:
    """Coordinates of each point ``[n, 2]``."""
    return np.asarray(points.get_offsets(), dtype=float)


def segmented(seed: int, **maps: np.ndarray | None) -> SegmentedPhotograph:
    pixels, mask = draw_scene(seed, *SIZES[seed % 3])
    return SegmentedPhotograph(pixels, mask, **{"semantic": mask, "truth": mask, **maps})


def view(seed: int, class_name: str | None) -> RegionView:
    pixels, mask = draw_scene(seed)
    return RegionView(pixels, mask == 1, class_name)


def retrieved(query: str | None, *neighbors: str | None) -> Retrieval:
    views = [view(i + 1, name) for i, name in enumerate(neighbors)]
    return Retrieval(view(0, query), views, np.linspace(0.9, 0.5, len(views), dtype=np.float32))


FIGURES: dict[str, Callable[[], Figure]] = {
    "tokens_tsne": lambda: tokens_tsne_figure([clustered(seed) for seed in range(3)]),
    "similarity": lambda: similarity_figure(
        [TokenImage(image.photograph, image.tokens) for image in map(clustered, range(3))],
        [Query(0, 7), Query(2, 30)],
    ),
    "qualitative": lambda: qualitative_figure(
        [segmented(i) for i in range(3)], ["ground", "red", "blue"], 255
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
        "import sys; from tests.dcn.figures.test_paper_figures import FIGURES, png\n"
        "for make in FIGURES.values(): png(make())\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_the_aspect_of_cells_follows_the_tallest_photograph_within_limits() -> None:
    assert cell_aspect([photograph(0, (30, 40)), photograph(0, (20, 40))]) == 0.75
    assert cell_aspect([photograph(0, (10, 90))]) == 0.5
    assert cell_aspect([photograph(0, (10, 90)), photograph(0, (90, 10))]) == 1


def test_cells_have_the_requested_aspect() -> None:
    figure, rows = picture_grid([0.5, 1.0], 2, 1.5, text_inches=0.4)
    for row in rows:
        show(row[0], photograph(0))
        show(row[1], photograph(2))
    png(figure)
    for aspect, row in zip([0.5, 1.0], rows):
        for cell in row:
            width, height = cell.get_position().size * figure.get_size_inches()
            assert height / width == pytest.approx(aspect, rel=1e-3)


def test_a_large_photograph_is_averaged_down() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1260, 3)).astype(np.uint8)
    expected = pixels.reshape(15, 2, 630, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced(pixels) - expected).max() <= 0.5
    small = pixels[:, :1199]
    assert reduced(small) is small


# Figure 1


def test_tokens_and_centers_have_the_color_of_their_region() -> None:
    images = [clustered(0, side=10, absent=(1,)), clustered(1, side=14, k=5)]
    figure = tokens_tsne_figure(images)
    rows = rows_of(figure, 3)
    assert [row[1].get_title() for row in rows] == ["2 regions", "5 regions"]
    for image, (shown, regions, tokens) in zip(images, rows):
        np.testing.assert_array_equal(shown.images[0].get_array(), image.photograph)
        points, stars = tokens.collections
        clusters = image.assignment.argmax(axis=1)
        np.testing.assert_allclose(colors_of(points), region_palette()[clusters] / 255)
        found, counts = np.unique(clusters, return_counts=True)
        largest_first = found[np.argsort(-counts, kind="stable")]
        np.testing.assert_allclose(colors_of(stars), region_palette()[largest_first] / 255)
        middles = [places_of(points)[clusters == c].mean(axis=0) for c in largest_first]
        distances = np.linalg.norm(places_of(stars)[:, None] - np.array(middles)[None], axis=2)
        assert distances.argmin(axis=1).tolist() == list(range(len(found)))
        # Every pixel of the overlay is gray under the color of a cluster that occurs, or a line.
        drawn = np.asarray(regions.images[0].get_array()).astype(int)
        gray = np.repeat(image.photograph.mean(axis=2).astype(np.uint8)[..., None], 3, axis=2)
        possible = [
            overlay(gray, np.full(gray.shape[:2], c, dtype=np.uint8), region_palette()) for c in set(clusters)
        ]
        white = (drawn == 255).all(axis=2)
        assert (white | np.any([(drawn == p).all(axis=2) for p in possible], axis=0)).all()
        assert white.mean() < 0.5


def test_a_region_without_tokens_has_a_star_too() -> None:
    """Upsampling can give pixels to a cluster that is no token's best."""
    assignment = np.array([[1, 0, 0.9], [0, 1, 0.9]] * 2, dtype=np.float16)  # 2 x 2 patches
    image = ClusteredImage(photograph(0), np.eye(4, dtype=np.float16), np.eye(3, 4), assignment)
    figure = tokens_tsne_figure([image])
    assert figure.axes[1].get_title() == "3 regions"
    points, stars = figure.axes[2].collections
    np.testing.assert_allclose(colors_of(stars), region_palette()[:3] / 255)
    assert len(places_of(points)) == 4


def test_the_token_map_is_by_cosine() -> None:
    """Tokens of equal direction lie together, whatever their lengths."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2, 8))[rng.integers(0, 2, 64)]
    tokens = (directions + rng.normal(size=(64, 8)) * 0.01) * 10 ** rng.uniform(-2, 2, (64, 1))
    placed, _ = token_map(tokens, tokens[:1])
    first = (directions == directions[0]).all(axis=1)
    distances = np.linalg.norm(placed[:, None] - placed[None], axis=2) + np.diag(np.full(64, np.inf))
    np.testing.assert_array_equal(first[distances.argmin(axis=1)], first)


@pytest.mark.parametrize("tokens", [np.ones((1, 4)), np.ones((9, 4)), np.zeros((4, 4))])
def test_the_token_map_of_few_or_equal_tokens_is_finite(tokens: np.ndarray) -> None:
    for centers in (tokens[:1], np.array([[1.0, 2.0, 0.0, 0.0]])):
        placed = token_map(tokens, centers)
        np.testing.assert_array_equal(placed[0], token_map(tokens, centers)[0])
        assert [len(p) for p in placed] == [len(tokens), 1]
        assert np.isfinite(np.concatenate(placed)).all()


def test_the_token_figure_of_an_image_with_one_token() -> None:
    image = ClusteredImage(
        photograph(0), np.ones((1, 4), np.float16), np.eye(4)[:2], np.array([[0.5, 0.5]], np.float16)
    )
    figure = tokens_tsne_figure([image])
    assert png(figure)
    assert figure.axes[1].get_title() == "1 region"
    assert len(places_of(figure.axes[2].collections[1])) == 1


# Figure 2


def test_heat_maps_are_upsampled_cosines_on_one_scale() -> None:
    images = [clustered(seed) for seed in range(3)]
    queries = [Query(1, 5), Query(0, 35)]
    figure = similarity_figure([TokenImage(image.photograph, image.tokens) for image in images], queries)
    rows = rows_of(figure, 4)
    assert [cell.get_title() for cell in rows[0]] == ["query", "same image", "other image", "other image"]
    limits, plain = set(), []
    for query, row, order in zip(queries, rows, [(1, 0, 2), (0, 1, 2)]):
        np.testing.assert_array_equal(row[0].images[0].get_array(), images[query.image].photograph)
        for cell, i in zip(row[1:], order):
            a, b = images[i].tokens.astype(float), images[query.image].tokens[query.patch].astype(float)
            cosines = a @ b / np.linalg.norm(a, axis=1) / np.linalg.norm(b)
            plain.append(cosines)
            size = images[i].photograph.shape[:2]
            expected = F.interpolate(torch.tensor(cosines).view(1, 1, 6, 6), size=size, mode="bilinear")[0, 0]
            gray, heat = cell.images
            np.testing.assert_allclose(pixels_of(heat), expected.numpy(), atol=1e-5)
            np.testing.assert_allclose(pixels_of(gray), images[i].photograph.mean(axis=2))
            alpha = heat.get_alpha()
            assert alpha is not None
            assert 0 < alpha < 1
            limits.add(heat.get_clim())
    assert len(limits) == 1
    assert limits.pop() == pytest.approx((np.min(plain), np.max(plain)), abs=1e-5)


def test_the_query_is_marked_in_the_middle_of_its_patch() -> None:
    tokens = np.eye(4, dtype=np.float16)  # 2 x 2 patches
    figure = similarity_figure([TokenImage(photograph(0, (20, 40)), tokens)], [Query(0, 1), Query(0, 2)])
    places = [np.asarray(row[0].lines[0].get_xydata())[0].tolist() for row in rows_of(figure, 2)]
    assert places == [[29.5, 4.5], [9.5, 14.5]]


def test_the_similarity_figure_of_one_image_with_one_token() -> None:
    figure = similarity_figure([TokenImage(photograph(0), np.ones((1, 4), np.float16))], [Query(0, 0)])
    assert png(figure)
    assert len(rows_of(figure, 2)) == 1


@pytest.mark.parametrize(
    ("labels", "foreground", "expected"),
    [
        ("000 011 011", [False, True], 4),
        ("000 000 001", [False, True], 8),
        ("000 000 001", [True, True], 4),
        ("011 011 222", [False, True, True], 1),
        ("111 101 111", [False, True], 1),
        ("111 111 111", [True, True], 4),
        ("000 000 011", [False, False], 4),
        ("000 000 000", [False, True], 4),
        ("0", [True], 0),
    ],
    ids=[
        "foreground",
        "small foreground",
        "largest of two",
        "largest of three",
        "ring",
        "one region",
        "no foreground",
        "foreground without a patch",
        "one patch",
    ],
)
def test_the_query_is_in_the_middle_of_the_largest_foreground_region(
    labels: str, foreground: list[bool], expected: int
) -> None:
    clusters = np.array([int(c) for c in labels.replace(" ", "")])
    assignment = np.eye(len(foreground), dtype=np.float16)[clusters]
    assert query_patch(assignment, np.array(foreground)) == expected


# Figure 4


def legend_of(figure: Figure) -> dict[str, tuple[float, ...]]:
    if not figure.legends:
        return {}
    legend = figure.legends[0]
    return {
        t.get_text(): to_rgba(p.get_facecolor()) for t, p in zip(legend.get_texts(), legend.get_patches())
    }


def test_a_row_shows_photograph_regions_classes_and_ground_truth() -> None:
    semantic = np.full(SIZES[0], 2, dtype=np.uint8)
    truth = np.zeros(SIZES[0], dtype=np.uint8)
    truth[:10] = 255
    photographs = [segmented(0, semantic=semantic, truth=truth), segmented(1), segmented(2)]
    figure = qualitative_figure(photographs, ["ground", "red", "blue"], 255)
    rows = rows_of(figure, 4)
    assert len(rows) == 3
    titles = ["photograph", "regions", "semantic segmentation", "ground truth"]
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
    figure = qualitative_figure([segmented(0, semantic=labels, truth=labels)], ["void", "red", "blue"], 0)
    legend = legend_of(figure)
    assert list(legend) == ["ignored", "blue"]
    assert legend["ignored"] == IGNORED


def test_without_ground_truth_classes_are_clusters() -> None:
    photographs = [segmented(1, truth=None), segmented(0, truth=None, semantic=None)]
    figure = qualitative_figure(photographs, [], 255)
    rows = rows_of(figure, 3)
    assert [cell.get_title() for cell in rows[0]] == ["photograph", "regions", "semantic segmentation"]
    assert [len(row[2].images) for row in rows] == [1, 0]
    assert list(legend_of(figure)) == ["background", "cluster 1", "cluster 2"]


def test_without_classes_there_is_no_legend() -> None:
    figure = qualitative_figure([segmented(0, truth=None, semantic=None)], [], 255)
    assert len(rows_of(figure, 2)) == 1
    assert legend_of(figure) == {}
    assert png(figure)


# Figure 5


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
    bank[[5, 9]] = query * 3, query  # equal: the first comes first
    rows, cosines = nearest_regions(query, bank, 4)
    lengths = np.linalg.norm(bank, axis=1) * np.linalg.norm(query)
    plain = np.divide(bank @ query, lengths, out=np.zeros(20, np.float32), where=lengths > 0)
    assert set(rows[:2].tolist()) == {5, 9}
    np.testing.assert_allclose(cosines, plain[rows], atol=1e-6)
    np.testing.assert_allclose(cosines, np.sort(plain)[::-1][:4], atol=1e-6)
    everything, _ = nearest_regions(query, bank, 99)
    assert sorted(everything.tolist()) == list(range(20))
    assert len(nearest_regions(query, bank[:0], 5)[0]) == 0
