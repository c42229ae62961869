"""Class of each value of a mask, where the values are no class indices: 0 and 255, other grays, colors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.errors import InvalidMaskError
from dcn.images.bands import bands

# Added to the number of a color, so that no color is a gray value.
_COLOR = 1 << 24
_SHOWN = 3


def value_code(text: str) -> int:
    """Read a value of a mask as a number: a gray value, or the three channels of a color.

    Args:
        text: ``255``, or red, green and blue as in ``255 0 0``.

    Returns:
        The gray value; of a color a larger number, which no gray value has.

    Raises:
        ValueError: the text is neither.

    """
    parts = text.replace(",", " ").split()
    most = {1: 65535, 3: 255}.get(len(parts), -1)
    if not parts or not all(part.isdecimal() and int(part) <= most for part in parts):
        raise ValueError(
            f"{text!r} is no value of a mask; write a number as in 255, or red, green and blue as in 255 0 0"
        )
    if len(parts) == 1:
        return int(parts[0])
    red, green, blue = map(int, parts)
    return _COLOR + (red << 16) + (green << 8) + blue


@dataclass(frozen=True)
class MaskValues:
    """The class of each value that may occur in a mask.

    Attributes:
        meaning: class index of each value (:func:`value_code`), or the ignore label.
        others: class index of all other values, or the ignore label; None: they are errors.

    Raises:
        ValueError: there are colors beside gray values.

    """

    meaning: Mapping[int, int]
    others: int | None = None
    _codes: npt.NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _labels: npt.NDArray[np.uint8] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = sorted(self.meaning)
        if not codes or (codes[0] < _COLOR <= codes[-1]):
            raise ValueError("write gray values or colors, not both, and at least one")
        object.__setattr__(self, "_codes", np.array(codes, dtype=np.int64))
        labels = np.array([self.meaning[code] for code in codes], dtype=np.uint8)
        object.__setattr__(self, "_labels", labels)

    def classes(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Look up the class of every pixel of a decoded mask.

        Returns:
            ``[H, W]`` class indices.

        Raises:
            InvalidMaskError: a value has no class, or the mask has colors where gray values are expected.

        """
        colored = self._codes[-1] >= _COLOR
        values = _colors(image) if colored else gray_values(image)  # [H, W, 3] or [H, W]
        height, width = values.shape[:2]
        found = np.empty((height, width), dtype=np.uint8)
        for band in bands(height, width):
            codes = values[band].astype(np.int64)
            if colored:
                codes = _COLOR + (codes @ np.array([1 << 16, 1 << 8, 1]))
            place = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
            unknown = self._codes[place] != codes
            if self.others is None and unknown.any():
                raise InvalidMaskError(_unlisted(np.unique(codes[unknown]).tolist()))
            found[band] = np.where(unknown, self.others or 0, self._labels[place])
        return found


def gray_values(image: Image.Image) -> npt.NDArray[np.generic]:
    """Read the values of a decoded mask: gray values, or indices of its palette.

    Three equal channels are gray as well: many programs save every image as RGB or RGBA.

    Returns:
        ``[H, W]`` integers, or booleans of an image with one bit per pixel.

    Raises:
        InvalidMaskError: it has colors, or transparent pixels.

    """
    if image.mode in ("1", "L", "P") or image.mode.startswith("I"):
        return np.asarray(image)
    channels = _colors(image)  # [H, W, 3]
    if (channels[..., 0] != channels[..., 1]).any() or (channels[..., 0] != channels[..., 2]).any():
        raise InvalidMaskError(
            f"its mode is {image.mode} and it has colors; save class indices in one channel (gray or "
            f"palette), or name the class of each color in mask_values"
        )
    return channels[..., 0]


def _colors(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Read the colors of a decoded mask ``[H, W, 3]``, those of its palette included."""
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise InvalidMaskError(
            f"its mode is {image.mode}; save class indices in one channel (gray or palette), or RGB colors"
        )
    if image.mode in ("LA", "PA", "RGBA") and image.getchannel("A").getextrema() != (255, 255):
        raise InvalidMaskError(
            "it has transparent pixels; fill them with the value of their class, and save it without alpha"
        )
    return np.asarray(image.convert("RGB"))


def _unlisted(codes: list[int]) -> str:
    shown = ", ".join(map(_shown_value, codes[:_SHOWN]))
    more = f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
    return f"it has the value {shown}{more}, which mask_values does not list; name its class there, or ignore"


def _shown_value(code: int) -> str:
    if code < _COLOR:
        return str(code)
    return " ".join(str((code >> shift) & 255) for shift in (16, 8, 0))
