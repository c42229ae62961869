"""Inputs of the paper's figures from synthetic photographs, and the parts of a drawn figure."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dcn.figures.qualitative import SegmentedPhotograph
from dcn.figures.retrieval import RegionView, Retrieval
from dcn.figures.tokens_tsne import ClusteredImage
from dcn.regions import label_map
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
    shown = photograph(seed)
    regions = label_map(assignment, *shown.shape[:2])
    return ClusteredImage(shown, tokens.astype(np.float16), centers, assignment, regions)


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


def legend_of(figure: Figure) -> dict[str, tuple[float, ...]]:
    if not figure.legends:
        return {}
    legend = figure.legends[0]
    return {
        t.get_text(): to_rgba(p.get_facecolor()) for t, p in zip(legend.get_texts(), legend.get_patches())
    }
