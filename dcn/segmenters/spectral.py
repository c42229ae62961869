"""Deep Spectral Methods (Melas-Kyriazi et al., CVPR 2022): k-means on the eigenvectors of a Laplacian.

The graph has the cosines of the tokens, negative ones cut to 0, as affinities, and optionally those of
colors. Of the ``k`` smallest eigenvectors the constant one goes, and k-means with ``k`` clusters on the
others gives the regions. As in the authors' code the eigenvectors are those of ``(D - W) x = lambda D x``,
and the rows that k-means sees are not normalized. Unlike there, eigenvectors without information are left
out, so that tokens of ``m`` directions give at most ``m`` regions instead of clusters of rounding errors.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dcn.errors import InvalidOptionError
from dcn.options import RegionCount
from dcn.segmenters.assignment import assignment_of, center_scores
from dcn.segmenters.segmenter import SEED, Floats, Segmenter, Shared

# Neighbors of a patch, and the weight of its position beside its color: near ones, and such as look alike
# anywhere (KNN matting, Chen et al., 2013, with the numbers of Deep Spectral Methods).
_COLOR_NEIGHBORS = ((20, 2.0), (10, 0.1))
# What scikit-learn did by default when the authors wrote KMeans(n_clusters).
_RESTARTS = 10
_DECIMALS = 6


class SpectralSegmenter(Segmenter):
    """Deep Spectral Methods: clusters of the eigenvectors of the normalized Laplacian."""

    published_miou = "30.8 ± 2.7"

    name: Literal["spectral"] = "spectral"
    num_regions: RegionCount = 5
    color_weight: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Weight of the affinity of colors beside that of tokens; 0 leaves colors out."
    )
    border_background: bool = Field(
        False,
        description="Whether the region with most border pixels is the background, whatever its attention.",
    )

    @property
    def needs_colors(self) -> bool:
        return self.color_weight > 0

    def columns(self, num_prototypes: int) -> int:
        return self.num_regions

    def assign(self, tokens: Floats, shared: Shared, colors: Floats | None) -> Floats:
        return spectral_assignment(tokens, self.num_regions, SEED, colors, self.color_weight)

    def background_region(self, labels: npt.NDArray[np.integer]) -> int | None:
        return border_background(labels) if self.border_background else None


def spectral_assignment(
    tokens: npt.NDArray[np.float32],
    num_regions: int,
    seed: int,
    colors: npt.NDArray[np.float32] | None = None,
    color_weight: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Regions by k-means on the eigenvectors of the Laplacian of an image.

    Args:
        tokens: ``[n, d]``, ``n`` a square number of patches in row-major order.
        num_regions: ``k``, of the eigenvectors and of the regions.
        seed: of k-means.
        colors: ``[n, 3]`` mean color of each patch in [0, 1].
        color_weight: factor of the affinity of colors beside that of tokens; 0 leaves it out.

    Returns:
        ``[n, k]``, see :func:`dcn.segmenters.assignment.assignment_of`.

    Raises:
        InvalidOptionError: a weight for colors, and no colors.

    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import normalize

    from dcn.segmenters.laplacian import laplacian_eigenvectors

    unit = normalize(tokens.astype(np.float64))
    affinity = (unit @ unit.T).clip(min=0)
    if color_weight > 0:
        if colors is None:
            raise InvalidOptionError(f"color_weight={color_weight} needs the colors of the patches")
        affinity += color_weight * color_affinity(colors)
    # Equal tokens differ by rounding: without this, each would be a point of its own to k-means.
    points = laplacian_eigenvectors(affinity, num_regions - 1).round(_DECIMALS)
    distinct = len(np.unique(points, axis=0)) if points.size else 1
    if distinct == 1:
        return assignment_of(np.zeros(len(points), dtype=np.int64), np.zeros((len(points), 1)), num_regions)
    fitted = KMeans(min(num_regions, distinct), n_init=_RESTARTS, random_state=seed).fit(points)
    scores = center_scores(points, fitted.cluster_centers_)
    return assignment_of(fitted.labels_.astype(np.int64), scores, num_regions)


def color_affinity(colors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Affinity of colors as in KNN matting: how often one patch is among the neighbors of the other.

    Args:
        colors: ``[n, 3]`` in [0, 1], ``n`` a square number of patches in row-major order.

    Returns:
        ``[n, n]``, symmetric; every patch is a neighbor of itself.

    """
    from sklearn.neighbors import NearestNeighbors

    n = len(colors)
    side = np.linspace(0, 1, round(n**0.5))
    rows, columns = np.meshgrid(side, side, indexing="ij")
    affinity = np.zeros((n, n))
    for neighbors, weight in _COLOR_NEIGHBORS:
        features = np.column_stack([colors, weight * columns.ravel(), weight * rows.ravel()])
        graph = NearestNeighbors(n_neighbors=min(neighbors, n)).fit(features).kneighbors_graph(features)
        affinity += (graph + graph.T).toarray()
    return affinity


def border_background(labels: npt.NDArray[np.integer]) -> int:
    """The region that is background by the rule of Deep Spectral Methods; all others are foreground.

    Args:
        labels: ``[H, W]`` label map.

    Returns:
        The label with most pixels on the border, where a corner counts on both of its sides. The smallest
        label of several.

    """
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return int(np.bincount(border).argmax())
