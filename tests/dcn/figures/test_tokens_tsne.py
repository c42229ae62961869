"""Figure 1: tokens and cluster centers on a map, in the colors of their regions."""

import numpy as np
import pytest

from dcn.figures.tokens_tsne import ClusteredImage, token_map, tokens_tsne_figure
from dcn.images.palette import overlay, region_palette
from dcn.regions import label_map
from tests.dcn.figures.examples import clustered, colors_of, photograph, places_of, png, rows_of


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
    shown = photograph(0)
    regions = label_map(assignment, *shown.shape[:2])
    image = ClusteredImage(shown, np.eye(4, dtype=np.float16), np.eye(3, 4), assignment, regions)
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
    shown = photograph(0)
    assignment, regions = np.array([[0.5, 0.5]], np.float16), np.zeros(shown.shape[:2], np.uint8)
    image = ClusteredImage(shown, np.ones((1, 4), np.float16), np.eye(4)[:2], assignment, regions)
    figure = tokens_tsne_figure([image])
    assert png(figure)
    assert figure.axes[1].get_title() == "1 region"
    assert len(places_of(figure.axes[2].collections[1])) == 1
