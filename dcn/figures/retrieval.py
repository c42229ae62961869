"""Figure 5: k-NN region retrieval, query regions and their nearest regions in other photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dcn.figures.grid import RGB, picture_grid, plain, show
from dcn.modularity import cosine_assignment
from dcn.regions import region_boxes

_CELL_INCHES = 1.6
_NAME_INCHES, _LEGEND_INCHES = 0.2, 0.3
_QUERY, _SAME, _OTHER, _UNKNOWN = "black", "limegreen", "red", "lightgray"
# Contrast of the pixels outside a region, relative to the photograph.
_OUTSIDE = 0.25


@dataclass(frozen=True)
class RegionView:
    """A region in its photograph.

    Attributes:
        photograph: ``[H, W, 3]`` uint8 RGB.
        mask: ``[H, W]`` bool, True inside the region, which is not empty.
        class_name: name of the class of most pixels in the region; None if it is unknown.

    """

    photograph: RGB
    mask: npt.NDArray[np.bool_]
    class_name: str | None


@dataclass(frozen=True)
class Retrieval:
    """A query region and its nearest neighbors.

    Attributes:
        query: the query region.
        neighbors: the ``m`` regions with the most similar embeddings, the nearest first.
        similarity: ``[m]`` cosine of the embeddings of the query and of each neighbor.

    """

    query: RegionView
    neighbors: Sequence[RegionView]
    similarity: npt.NDArray[np.float32]


def nearest_regions(
    query: npt.NDArray[np.float32], bank: npt.NDArray[np.float32], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Find the regions whose embeddings have the largest cosines with that of a query (section 4.4).

    Args:
        query: ``[d]`` embedding.
        bank: ``[R, d]`` embeddings of regions in other images.
        count: number of regions to find; a smaller bank gives all of its regions.

    Returns:
        Rows of the bank ``[m]``, the nearest first, and their cosines ``[m]``.

    """
    cosines = cosine_assignment(torch.from_numpy(bank), torch.from_numpy(query)[None])[:, 0].numpy()
    rows = np.argsort(-cosines, kind="stable")[:count]
    return rows, cosines[rows]


def retrieval_figure(retrievals: Sequence[Retrieval]) -> Figure:
    """Draw figure 5: each row shows a query, framed in black, and its neighbors with their cosines.

    A green frame shows a neighbor of the query's class, a red one a neighbor of another class, and a gray
    one that the class of either is unknown.
    """
    columns = 1 + max(len(retrieval.neighbors) for retrieval in retrievals)
    known = any(_frame(r.query, neighbor) != _UNKNOWN for r in retrievals for neighbor in r.neighbors)
    gap, bottom = (_NAME_INCHES, _NAME_INCHES + _LEGEND_INCHES) if known else (0, 0)
    figure, rows = picture_grid([1.0] * len(retrievals), columns, _CELL_INCHES, gap, bottom)
    for cell, title in zip(rows[0], ["query", *range(1, columns)], strict=True):
        cell.set_title(str(title))
    for retrieval, (first, *cells) in zip(retrievals, rows, strict=True):
        _show(first, retrieval.query, _QUERY)
        # A small bank leaves cells empty.
        for cell, neighbor, cosine in zip(cells, retrieval.neighbors, retrieval.similarity, strict=False):
            _show(cell, neighbor, _frame(retrieval.query, neighbor))
            _write_in_corner(cell, f"{cosine:.2f}")
    if known:
        meanings = {"same class": _SAME, "another class": _OTHER}
        patches = [Patch(facecolor="none", edgecolor=c, linewidth=2, label=m) for m, c in meanings.items()]
        figure.legend(handles=patches, loc="lower center", ncols=2, frameon=False)
    return figure


def region_crop(region: RegionView) -> RGB:
    """Cut a region out by its bounding box, ``[h, w, 3]``. Pixels outside the region are gray and pale."""
    top, left, bottom, right = region_boxes(region.mask.astype(np.uint8), 2)[1]
    crop, mask = region.photograph[top:bottom, left:right], region.mask[top:bottom, left:right]
    pale = 255 - (255 - crop.mean(axis=2, keepdims=True)) * _OUTSIDE
    return np.where(mask[..., None], crop, pale).astype(np.uint8)


def _frame(query: RegionView, neighbor: RegionView) -> str:
    if query.class_name is None or neighbor.class_name is None:
        return _UNKNOWN
    return _SAME if neighbor.class_name == query.class_name else _OTHER


def _show(cell: Axes, region: RegionView, color: str) -> None:
    show(cell, region_crop(region))
    cell.set_axis_on()
    cell.set(xticks=[], yticks=[], xlabel=plain(region.class_name or ""))
    cell.spines[:].set(color=color, linewidth=3)


def _write_in_corner(cell: Axes, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    cell.text(0.95, 0.05, text, transform=cell.transAxes, ha="right", va="bottom", fontsize=8, bbox=box)
