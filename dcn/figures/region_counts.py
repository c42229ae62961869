"""Numbers of regions against numbers of true regions: how many images have each pair of numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def region_counts_figure(regions: npt.NDArray[np.float32], true_regions: npt.NDArray[np.float32]) -> Figure:
    """Draw a cell for each pair of numbers; a darker cell has more images, and its number says how many.

    Args:
        regions: ``[N]`` number of regions of each image; NaN leaves the image out.
        true_regions: ``[N]`` number of true regions. Means over annotators are rounded.

    """
    counted = ~np.isnan(regions)
    pairs = np.stack([true_regions[counted], regions[counted]]).round().astype(np.int64)  # [2, n]
    images = np.zeros(pairs.max(axis=1, initial=0) + 1, np.int64)  # [true regions, regions]
    np.add.at(images, tuple(pairs), 1)
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(images.T, origin="lower", aspect="auto", cmap="Blues")
    for true, found in np.argwhere(images):
        number = int(images[true, found])
        color = "white" if 2 * number > images.max() else "black"
        axes.text(true, found, str(number), ha="center", va="center", fontsize=7, color=color)
    axes.set(xlabel="true regions", ylabel="regions", xlim=(0.5, None), ylim=(0.5, None))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    return figure
