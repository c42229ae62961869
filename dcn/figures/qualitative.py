"""Figure 4: regions, semantic segmentation and ground truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dcn.figures.grid import RGB, cell_aspect, picture_grid, plain, show
from dcn.images.palette import colorize, overlay, region_palette

_CELL_INCHES = 2.4
_LEGEND_COLUMNS = 6
_LEGEND_ROW_INCHES = 0.25


@dataclass(frozen=True)
class SegmentedPhotograph:
    """A photograph and its label maps, all of the same size.

    Attributes:
        photograph: ``[H, W, 3]`` uint8 RGB.
        regions: ``[H, W]`` region of every pixel.
        semantic: ``[H, W]`` class of every pixel; None if the photograph was not evaluated.
        truth: ``[H, W]`` true class of every pixel; None without ground truth.

    """

    photograph: RGB
    regions: npt.NDArray[np.uint8]
    semantic: npt.NDArray[np.uint8] | None
    truth: npt.NDArray[np.uint8] | None


def qualitative_figure(
    photographs: Sequence[SegmentedPhotograph],
    class_names: Sequence[str],
    palette: npt.NDArray[np.uint8],
    ignore_label: int,
) -> Figure:
    """Draw figure 4: each row shows a photograph, its regions, its classes and ground truth.

    A legend below names the classes that occur.

    Args:
        photographs: one for each row. A column without any picture is left out.
        class_names: name of each label; empty if there is no ground truth and classes are clusters.
        palette: ``[256, 3]`` uint8, the color of each class.
        ignore_label: label of pixels that no metric counts.

    """
    columns: dict[str, list[RGB | None]] = {
        "photograph": [p.photograph for p in photographs],
        "regions": [overlay(p.photograph, p.regions, region_palette()) for p in photographs],
        "classes": [_colored(p.semantic, palette) for p in photographs],
        "ground truth": [_colored(p.truth, palette) for p in photographs],
    }
    columns = {title: pictures for title, pictures in columns.items() if any(p is not None for p in pictures)}
    classes = _classes(photographs)
    legend_rows = math.ceil(len(classes) / _LEGEND_COLUMNS)
    figure, rows = picture_grid(
        [cell_aspect([p.photograph]) for p in photographs],
        len(columns),
        _CELL_INCHES,
        bottom_inches=_LEGEND_ROW_INCHES * legend_rows,
    )
    for cell, title in zip(rows[0], columns, strict=True):
        cell.set_title(title)
    for cells, pictures in zip(rows, zip(*columns.values(), strict=True), strict=True):
        for cell, picture in zip(cells, pictures, strict=True):
            if picture is not None:
                show(cell, picture)
    if classes:
        patches = [
            Patch(
                facecolor=palette[label] / 255,
                edgecolor="gray",
                label="ignored" if label == ignore_label else plain(_class_name(label, class_names)),
            )
            for label in classes
        ]
        columns_of_legend = math.ceil(len(classes) / legend_rows)
        figure.legend(handles=patches, loc="lower center", ncols=columns_of_legend, frameon=False)
    return figure


def _colored(labels: npt.NDArray[np.uint8] | None, palette: npt.NDArray[np.uint8]) -> RGB | None:
    return None if labels is None else colorize(labels, palette)


def _classes(photographs: Sequence[SegmentedPhotograph]) -> list[int]:
    """Return the labels that occur in a semantic segmentation or in the ground truth, sorted."""
    maps = [labels for p in photographs for labels in (p.semantic, p.truth) if labels is not None]
    return sorted({int(label) for labels in maps for label in np.unique(labels)})


def _class_name(label: int, class_names: Sequence[str]) -> str:
    if class_names:
        return class_names[label]
    return f"cluster {label}" if label else "background"
