"""Color palettes of regions and classes, and pictures of label maps."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.images.bands import bands

_OVERLAY_OPACITY = 0.55
_IGNORED = 224, 224, 192
# Colors that people with any color vision can tell apart, on light and on dark ground, the most different
# ones first. The first seven are those of Okabe and Ito (https://jfly.uni-koeln.de/color) without black. Each
# of the following ones is the color that is most different from all before, under normal vision and under
# simulated protanopia, deuteranopia and tritanopia (Machado et al., 2009; distances in CIELAB).
_CATEGORIES = (
    "0072b2e69f00009e73cc79a756b4e9d55e00f0e4428700f0c3f0c3693c1e870f5a69ff879678ffff005a"
    "4b2da5ffb4d287c387c3a54b785a87a50f4b870f87964b0f5a783ca5f0ff"
)


def region_palette() -> npt.NDArray[np.uint8]:
    """Make the palette of regions: ``[256, 3]`` uint8, the most different colors first."""
    categories = np.frombuffer(bytes.fromhex(_CATEGORIES), np.uint8).reshape(-1, 3)
    hues = [colorsys.hsv_to_rgb((0.58 + i * 0.618034) % 1, 0.75, 0.95) for i in range(256 - len(categories))]
    return np.concatenate([categories, (np.array(hues) * 255).round().astype(np.uint8)])


def category_palette(ignore_label: int = 255) -> npt.NDArray[np.uint8]:
    """Make the palette of classes of any data set: ``[256, 3]`` uint8.

    The background is black, and class c has the color of region c - 1. The ignore label is VOC's cream.
    """
    colors = np.concatenate([np.zeros((1, 3), np.uint8), region_palette()[:-1]])
    colors[ignore_label] = _IGNORED
    return colors


def class_palette(ignore_label: int = 255) -> npt.NDArray[np.uint8]:
    """Make the palette of the classes of VOC 2012: the colors of PASCAL VOC, ``[256, 3]`` uint8.

    VOC spreads the bits of a label over the three channels. The ignore label is always VOC's cream.
    """
    labels = np.arange(256, dtype=np.uint32)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for level in range(3):
        for channel in range(3):
            bit = (labels >> (3 * level + channel)) & 1
            colors[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    colors[ignore_label] = _IGNORED
    return colors


PaletteName = Literal["category", "voc"]
# Palettes of classes: any data set, and VOC 2012.
CLASS_PALETTES: dict[PaletteName, Callable[[int], npt.NDArray[np.uint8]]] = {
    "category": category_palette,
    "voc": class_palette,
}


def colorize(labels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Color a label map ``[H, W]`` by a palette ``[256, 3]``. Returns ``[H, W, 3]`` uint8."""
    return palette[labels]


def overlay(
    photograph: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Blend a photograph with the colors of its label map, and draw white lines between the labels.

    Args:
        photograph: ``[H, W, 3]`` uint8 RGB.
        labels: label map ``[H, W]``.
        palette: ``[256, 3]`` uint8.

    Returns:
        ``[H, W, 3]`` uint8.

    """
    mixed = np.empty_like(photograph)
    for band in bands(*labels.shape):  # mixed in floating point, a photograph takes eight times its memory
        mixed[band] = photograph[band] * (1 - _OVERLAY_OPACITY) + palette[labels[band]] * _OVERLAY_OPACITY
    border = np.zeros(labels.shape, dtype=np.bool_)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    mixed[border] = 255
    return mixed


def palette_png(labels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """Encode a label map ``[H, W]`` as a palette PNG: its pixel values are the labels.

    Args:
        labels: label map ``[H, W]``.
        palette: ``[256, 3]`` uint8, the color of each label.

    Returns:
        Bytes of the PNG file.

    """
    image = Image.fromarray(labels).convert("P")
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
