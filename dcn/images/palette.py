"""Colors of regions and classes."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

_OVERLAY_OPACITY = 0.55
# Pixels that are mixed at once: in floating point they take eight times the room.
_BAND_PIXELS = 1 << 20


def region_palette() -> npt.NDArray[np.uint8]:
    """``[256, 3]`` colors that differ most for the first few: hues by the golden ratio."""
    colors = [colorsys.hsv_to_rgb((0.58 + i * 0.618034) % 1, 0.75, 0.95) for i in range(256)]
    return (np.array(colors) * 255).round().astype(np.uint8)


def class_palette(ignore_label: int = 255) -> npt.NDArray[np.uint8]:
    """``[256, 3]`` the colors of PASCAL VOC: the bits of a label, spread over the three channels.

    The ignore label has VOC's cream, whatever its number.
    """
    labels = np.arange(256, dtype=np.uint32)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for level in range(3):
        for channel in range(3):
            bit = (labels >> (3 * level + channel)) & 1
            colors[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    colors[ignore_label] = 224, 224, 192
    return colors


def colorize(labels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Labels ``[H, W]`` as colors ``[H, W, 3]``."""
    return palette[labels]


def overlay(
    photograph: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """A photograph ``[H, W, 3]`` under the colors of its labels, with white lines between them."""
    mixed = np.empty_like(photograph)
    rows = max(1, _BAND_PIXELS // labels.shape[1])
    for top in range(0, len(labels), rows):
        band = slice(top, top + rows)
        mixed[band] = photograph[band] * (1 - _OVERLAY_OPACITY) + palette[labels[band]] * _OVERLAY_OPACITY
    border = np.zeros(labels.shape, dtype=np.bool_)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    mixed[border] = 255
    return mixed


def palette_png(labels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """Labels ``[H, W]`` as a PNG whose pixels are the labels and whose palette shows them."""
    image = Image.fromarray(labels).convert("P")
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
