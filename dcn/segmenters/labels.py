"""Label maps that another program made. They take part in comparisons like a segmenter of this package."""

from __future__ import annotations

import hashlib
import io
import math
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dcn.errors import InvalidLabelMapError, InvalidOptionError
from dcn.images.files import is_lasting, read_file
from dcn.options import RegionCount
from dcn.segmenters.segmenter import Segmenter

# In the order in which a map is looked for.
_SUFFIXES = (".png", ".npy")
_MODES = ("1", "L", "P", "I", "I;16")


class LabelsSegmenter(Segmenter):
    """Label maps of another method, one file for each photograph. Every value of a map is one region."""

    reads_maps = True
    compared_at = "own"

    name: Literal["labels"] = "labels"
    root: Path = Field(
        description="Folder of the label maps. That of the photograph with the id ``a/b`` is ``a/b.png`` or "
        "``a/b.npy``, with integers, of any size."
    )
    num_regions: RegionCount = Field(32, description="Largest number of regions in a map.")

    def columns(self, num_prototypes: int) -> int:
        return self.num_regions

    def content(self) -> dict[str, Any]:
        """Name the files of the maps by a digest of their names, sizes and times instead of their folder.

        Raises:
            InvalidOptionError: there is no such folder.

        """
        if "root" not in self.model_fields_set:  # the defaults, which have no folder
            return {}
        if not self.root.is_dir():
            raise InvalidOptionError(f"there is no folder {self.root}", parameter="root")
        lines = (
            f"{os.path.relpath(Path(folder, name), self.root)!r} {_size_and_time(Path(folder, name))}"
            for folder, _, names in os.walk(self.root)
            for name in names
            if name.endswith(_SUFFIXES)
        )
        listing = "\n".join(sorted(lines)).encode()
        return {"root": hashlib.blake2b(listing, digest_size=16).hexdigest()}

    def read_map(self, photograph: str, side: int) -> npt.NDArray[np.uint8]:
        path = self._find(photograph)
        try:
            content = read_file(path)
        except OSError as error:
            if not is_lasting(error):
                raise
            raise InvalidLabelMapError(f"its label map {path} cannot be read: {error.strerror}") from error
        try:
            values = _read_npy(content) if path.suffix == ".npy" else _read_png(content)
        except Exception as error:  # NumPy and Pillow have their own errors for each broken file
            raise InvalidLabelMapError(f"its label map {path} cannot be used: {error}") from error
        height, width = values.shape
        pixels = (np.arange(side) + 0.5) / side  # the nearest pixel of each, by the centers
        values = values[(pixels * height).astype(np.int64)][:, (pixels * width).astype(np.int64)]
        occurring, place = np.unique(values, return_inverse=True)
        if len(occurring) > self.num_regions:
            raise InvalidLabelMapError(
                f"its label map {path} has {len(occurring)} regions; raise num_regions, which is "
                f"{self.num_regions}"
            )
        return place.reshape(side, side).astype(np.uint8)

    def _find(self, photograph: str) -> Path:
        paths = [self.root / f"{photograph}{suffix}" for suffix in _SUFFIXES]
        for path in paths:
            if os.path.lexists(path):
                return path
        raise InvalidLabelMapError(f"it has no label map {' or '.join(map(str, paths))}")


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError as error:
        if not is_lasting(error):
            raise
        return None  # a link to nothing; reading it gives the reason
    return status.st_size, status.st_mtime_ns


def _read_png(content: bytes) -> npt.NDArray[np.integer]:
    """Read the values of a PNG, ``[H, W]``: gray values, or indices of a palette."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        if image.mode not in _MODES:
            raise ValueError(f"its mode is {image.mode}; save labels in one channel (gray or palette)")
        return np.asarray(image).astype(np.int32)


def _read_npy(content: bytes) -> npt.NDArray[np.integer]:
    """Read an array ``[H, W]`` of integers. Nothing is unpickled."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its format {version[0]}.{version[1]} is unknown; save it with numpy.save")
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(file)
    if dtype.kind not in "iub" or len(shape) != 2 or not math.prod(shape):
        raise ValueError(f"it holds {dtype} of shape {shape}; save integers of shape (height, width)")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"its size is not that of shape {shape}; save it again")
    file.seek(0)
    values: npt.NDArray[np.integer] = np.lib.format.read_array(file, allow_pickle=False)
    return values
