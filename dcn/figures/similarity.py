"""Figure 2: cosine similarities of tokens, which reflect semantics within an image better than across."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from dcn.figures.grid import RGB, cell_aspect, keep_box, picture_grid, reduced, show
from dcn.modularity import cosine_assignment
from dcn.regions import upsampled_bands

_CELL_INCHES = 1.9
_SCALE_INCHES, _BAR_INCHES = 0.6, 0.12
_COLORS, _OPACITY = "turbo", 0.6


@dataclass(frozen=True)
class TokenImage:
    """A photograph and its tokens.

    Attributes:
        photograph: ``[H, W, 3]`` uint8 RGB.
        tokens: ``[n, d]``, ``n`` a square number of patches in row-major order.

    """

    photograph: RGB
    tokens: npt.NDArray[np.floating]


@dataclass(frozen=True)
class Query:
    """The patch whose token is compared with all others.

    Attributes:
        image: index of its image.
        patch: its row in the tokens of that image.

    """

    image: int
    patch: int


def query_patch(assignment: npt.NDArray[np.float16], foreground: npt.NDArray[np.bool_]) -> int:
    """Choose a query patch: the one nearest to the center of the largest foreground region.

    Args:
        assignment: ``[n, k]`` soft assignment of one image.
        foreground: ``[k]`` bool. If no patch is in a foreground region, all regions count.

    Returns:
        The patch, 0 to n - 1.

    """
    n, k = assignment.shape
    clusters = assignment.argmax(axis=1)
    areas = np.bincount(clusters, minlength=k)
    if areas[foreground].any():
        areas[~foreground] = 0
    inside = np.flatnonzero(clusters == areas.argmax())
    places = np.stack(np.divmod(inside, round(n**0.5)), axis=1)  # [m, 2] row and column
    distances = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    return int(inside[distances.argmin()])


def similarity_figure(images: Sequence[TokenImage], queries: Sequence[Query]) -> Figure:
    """Draw figure 2: each row shows a query and its cosines with its own image and with every other image.

    All cosines have the same color scale.
    """
    cosines = [[_cosines(images, query, i) for i in range(len(images))] for query in queries]
    everything = torch.cat([values for row in cosines for values in row])
    scale = Normalize(float(everything.min()), float(everything.max()))
    height = cell_aspect([image.photograph for image in images])
    figure, rows = picture_grid(
        [height] * len(queries), 1 + len(images), _CELL_INCHES, bottom_inches=_SCALE_INCHES
    )
    for query, (place, *cells), values in zip(queries, rows, cosines, strict=True):
        _mark(place, images[query.image], query.patch)
        others = [i for i in range(len(images)) if i != query.image]
        for cell, i in zip(cells, [query.image, *others], strict=True):
            _heat_map(cell, images[i].photograph, values[i], scale)
    titles = ["query", "same image", *["other image"] * (len(images) - 1)]
    for cell, title in zip(rows[0], titles, strict=True):
        cell.set_title(title)
    total = figure.get_figheight()
    bar = figure.add_axes(
        (0.25, (_SCALE_INCHES - _BAR_INCHES) / total, 0.5, _BAR_INCHES / total), label="<colorbar>"
    )
    figure.colorbar(
        ScalarMappable(scale, _COLORS),
        cax=bar,
        alpha=_OPACITY,
        orientation="horizontal",
        label="cosine similarity",
    )
    return figure


def _cosines(images: Sequence[TokenImage], query: Query, image: int) -> Tensor:
    """Compute the cosines ``[n, 1]`` of the tokens of one image with the token of a query."""
    tokens, asked = (torch.from_numpy(images[i].tokens).float() for i in (image, query.image))
    return cosine_assignment(tokens, asked[query.patch, None])


def _mark(cell: Axes, image: TokenImage, patch: int) -> None:
    """Draw a photograph with a point in the middle of one of its patches."""
    show(cell, image.photograph)
    height, width = reduced(image.photograph).shape[:2]
    side = round(len(image.tokens) ** 0.5)
    row, column = divmod(patch, side)
    # Integer coordinates are the centers of pixels, so a photograph begins at -0.5.
    x, y = (column + 0.5) * width / side - 0.5, (row + 0.5) * height / side - 0.5
    cell.plot(x, y, marker="o", markersize=9, color="red", markeredgecolor="white", markeredgewidth=1.5)


def _heat_map(cell: Axes, photograph: RGB, cosines: Tensor, scale: Normalize) -> None:
    """Draw cosines ``[n, 1]``, upsampled like the assignment, over the photograph in gray."""
    gray = reduced(photograph).mean(axis=2)
    bands = [band.numpy() for _, band in upsampled_bands(cosines, *gray.shape)]
    cell.imshow(gray, cmap="gray", vmin=0, vmax=255)
    cell.imshow(np.concatenate(bands, axis=1)[0], cmap=_COLORS, norm=scale, alpha=_OPACITY)
    keep_box(cell)
