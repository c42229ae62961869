"""Figure 2: the similarity of a query token with the tokens of the same and other photographs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcn.figures.similarity import Query, TokenImage, query_patch, similarity_figure
from tests.dcn.figures.examples import clustered, photograph, pixels_of, png, rows_of


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
