"""Figure 1: t-SNE of the tokens of an image, and of the cluster centers that the DCN finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from dcn.figures.grid import RGB, cell_aspect, keep_box, picture_grid, show
from dcn.images.palette import overlay, region_palette
from dcn.kernels.cpu_threads import compute_alone

_CELL_INCHES, _TITLE_INCHES = 3.0, 0.25
_PERPLEXITY = 30.0
# A map of more tokens shows nothing more, and more iterations hardly move them.
_MOST_TOKENS, _ITERATIONS = 256, 500


@dataclass(frozen=True)
class ClusteredImage:
    """An image and the clusters that the DCN finds in it.

    Attributes:
        photograph: ``[H, W, 3]`` uint8 RGB.
        tokens: ``[n, d]`` floating point.
        centers: ``[k, d]`` cluster centers, floating point.
        assignment: ``[n, k]`` cosines of tokens and centers (equation 5).
        regions: ``[H, W]`` region of every pixel.

    """

    photograph: RGB
    tokens: npt.NDArray[np.floating]
    centers: npt.NDArray[np.floating]
    assignment: npt.NDArray[np.float16]
    regions: npt.NDArray[np.uint8]


def tokens_tsne_figure(images: Sequence[ClusteredImage]) -> Figure:
    """Draw figure 1: each row shows a photograph, its regions, and a map of its tokens and cluster centers.

    A cluster has the same color in the regions and in the map. Centers without a region are left out. The map
    of an image with very many tokens shows a sample of them.
    """
    aspects = [cell_aspect([image.photograph]) for image in images]
    figure, rows = picture_grid(aspects, 3, _CELL_INCHES, gap_inches=_TITLE_INCHES)
    for image, (photograph, regions, tokens) in zip(images, rows, strict=True):
        found = np.unique(image.regions)
        show(photograph, image.photograph)
        show(regions, overlay(_gray(image.photograph), image.regions, region_palette()))
        regions.set_title(f"{len(found)} region{'s' if len(found) > 1 else ''}")
        _draw_map(tokens, image, found)
    rows[0][0].set_title("photograph")
    rows[0][2].set_title("tokens and centers (t-SNE)")
    return figure


def token_map(
    tokens: npt.NDArray[np.floating], centers: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Map tokens and centers together to two dimensions by t-SNE with cosine distances.

    Args:
        tokens: ``[n, d]``.
        centers: ``[k, d]``.

    Returns:
        Coordinates of the tokens ``[n, 2]`` and of the centers ``[k, 2]``.

    """
    vectors = np.concatenate([tokens, centers]).astype(np.float32)
    alike = np.ptp(vectors, axis=0).max() == 0  # no principal component to start from
    tsne = TSNE(
        max_iter=_ITERATIONS,
        perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),  # t-SNE needs three times as many neighbors
        metric="cosine",
        init="random" if alike else "pca",
        random_state=0,
    )
    # Threads would wait for each other in each of the short iterations.
    with compute_alone():
        places = tsne.fit_transform(vectors)
    return places[: len(tokens)], places[len(tokens) :]


def _gray(photograph: RGB) -> RGB:
    """Convert a photograph to gray, so that the colors of the regions are those of the map."""
    gray = photograph.mean(axis=2, keepdims=True).astype(np.uint8)
    return np.broadcast_to(gray, photograph.shape)


def _draw_map(cell: Axes, image: ClusteredImage, found: npt.NDArray[np.uint8]) -> None:
    """Draw the map of the tokens and of the centers ``found``."""
    shown = np.sort(np.random.default_rng(0).permutation(len(image.tokens))[:_MOST_TOKENS])
    clusters = image.assignment.argmax(axis=1)  # [n]
    # Draw the star of the smallest cluster last, so that the star of a larger cluster does not hide it.
    stars = found[np.argsort(-np.bincount(clusters, minlength=256)[found], kind="stable")]
    tokens, centers = token_map(image.tokens[shown], image.centers[stars])
    colors = region_palette() / 255
    x, y = tokens.T
    cell.scatter(x, y, s=9, c=colors[clusters[shown]], linewidths=0)
    x, y = centers.T
    cell.scatter(x, y, s=200, c=colors[stars], marker="*", edgecolors="black", linewidths=1)
    cell.margins(0.08)
    keep_box(cell)
