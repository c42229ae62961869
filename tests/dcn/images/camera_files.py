"""Photographs as cameras write them: HEIC of phones, and a raw photograph (DNG), both made here."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from pillow_heif import register_heif_opener

register_heif_opener()  # the tests write what the package only reads

# Tags of a DNG: the colors under the filters of the sensor, their conversion to XYZ, black and white.
_FILTERS = ((33421, "H", 2, (2, 2), True), (33422, "B", 4, (0, 1, 1, 2), True))
_COLORS: tuple[Any, ...] = (
    (50706, "B", 4, (1, 4, 0, 0), True),
    (50708, "s", 0, "Test", True),
    (50717, "H", 1, 65535, True),
    (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
    (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
    (50778, "H", 1, 21, True),
)


def heic(image: Image.Image, **options: object) -> bytes:
    """Encode an image as HEIC."""
    buffer = io.BytesIO()
    image.save(buffer, format="HEIF", **options)
    return buffer.getvalue()


def dng(orientation: int = 1, height: int = 48, width: int = 64) -> bytes:
    """A raw photograph whose left half is red, as the sensor saw it; ``orientation`` says how it was held."""
    values = np.full((height, width), 2000, dtype=np.uint16)
    values[::2, : width // 2 : 2] = 60000  # the pixels under red filters
    buffer = io.BytesIO()
    tags = [(274, "H", 1, orientation, True), *_FILTERS, *_COLORS]
    tifffile.imwrite(buffer, values, photometric="cfa", extratags=tags, metadata=None)
    return buffer.getvalue()


def preview_first(height: int = 48, width: int = 64) -> bytes:
    """A TIFF file like those of Nikon and Sony: the first picture is a preview, the second is the photograph."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        preview = np.zeros((height // 8, width // 8, 3), dtype=np.uint8)
        file.write(preview, photometric="rgb", subfiletype=1, metadata=None)
        file.write(np.zeros((height, width), dtype=np.uint16), photometric="minisblack", metadata=None)
    return buffer.getvalue()
