"""Run a function over a data set and keep its label maps, so that it takes part in comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcn.datasets import Dataset
from dcn.errors import InvalidLabelMapError, InvalidPhotographError
from dcn.images.files import is_lasting, read_file
from dcn.images.palette import palette_png, region_palette

_MOST_REGIONS = 255


def write_label_maps(
    dataset: Dataset,
    segment: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.integer]],
    folder: Path,
) -> int:
    """Segment every photograph by a function, and write its regions for the segmenter ``labels``.

    A photograph that cannot be read is left out; a run over the data set refuses it and says why.

    Args:
        dataset: the photographs.
        segment: takes a photograph ``[H, W, 3]`` uint8 RGB and returns its label map: integers ``[h, w]`` of
            any size, of which every value is one region.
        folder: folder of the label maps, one palette PNG for each photograph: ``<id>.png``.

    Returns:
        Number of label maps.

    Raises:
        InvalidLabelMapError: the function returned something else, or too many regions.

    Example::

        from skimage.segmentation import slic
        from dcn.datasets import FolderDataset

        dataset = FolderDataset(Path("photographs"))
        write_label_maps(dataset, lambda photograph: slic(photograph, n_segments=5), Path("maps"))

    """
    count = 0
    for item in dataset.items():
        try:
            photograph = dataset.decode_photograph(read_file(dataset.root / item.image))
        except InvalidPhotographError:
            continue
        except OSError as error:
            if not is_lasting(error):
                raise
            continue
        labels = _numbered(np.asarray(segment(photograph)), item.id)
        path = folder / f"{item.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(palette_png(labels, region_palette()))
        count += 1
    return count


def _numbered(labels: npt.NDArray[np.integer], photograph: str) -> npt.NDArray[np.uint8]:
    """Number the regions of a label map from 0."""
    if labels.dtype.kind not in "iub" or labels.ndim != 2 or not labels.size:
        raise InvalidLabelMapError(
            f"the label map of {photograph} holds {labels.dtype} of shape {labels.shape}; return integers of "
            f"shape (height, width)"
        )
    occurring, place = np.unique(labels, return_inverse=True)
    if len(occurring) > _MOST_REGIONS:
        raise InvalidLabelMapError(
            f"the label map of {photograph} has {len(occurring)} regions; return at most {_MOST_REGIONS}"
        )
    numbered: npt.NDArray[np.uint8] = place.reshape(labels.shape).astype(np.uint8)
    return numbered
