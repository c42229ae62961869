"""Reading photographs of every kind as 8-bit RGB, and ground-truth masks as class indices."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from dcn.errors import InvalidMaskError, InvalidPhotographError

# What Pillow raises for files that are broken in one way or another, beside its own error class.
_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
)


def decode_photograph(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode an image file to ``[H, W, 3]`` uint8 as a viewer would show it.

    Orientation is taken from EXIF, transparency is put on white, 16-bit channels are scaled to 8, CMYK and
    palettes become RGB; of an animation the first frame is taken.

    Raises:
        InvalidPhotographError: with the reason.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except _UNREADABLE as error:
        raise InvalidPhotographError(_describe(error, content)) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values from {values.min()} to {values.max()} are not 16-bit")
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("a floating-point image has no defined brightness; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def decode_mask(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode a ground-truth mask to ``[H, W]`` uint8 class indices.

    Raises:
        InvalidMaskError: it is no image, or one of colours instead of indices.

    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.mode not in ("P", "L", "1", "I;16", "I"):
                raise InvalidMaskError(
                    f"its mode is {image.mode}; a mask holds class indices in one channel (grey or palette)"
                )
            values = np.asarray(image).astype(np.int64)
    except _UNREADABLE as error:
        raise InvalidMaskError(_describe(error, content)) from error
    if values.min() < 0 or values.max() > 255:
        raise InvalidMaskError(f"its values go from {values.min()} to {values.max()}; classes are 0 to 255")
    return values.astype(np.uint8)


def check_mask(
    mask: npt.NDArray[np.uint8], height: int, width: int, num_classes: int, ignore_label: int
) -> None:
    """Hold a mask ``[H, W]`` to its image and its classes.

    Raises:
        InvalidMaskError: another size, or a label that is neither a class nor the ignore label.

    """
    if mask.shape != (height, width):
        raise InvalidMaskError(
            f"it is {mask.shape[1]} x {mask.shape[0]} pixels, its image {width} x {height}"
        )
    labels = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    wrong = [int(label) for label in labels if label >= num_classes and label != ignore_label]
    if wrong:
        raise InvalidMaskError(
            f"it has label {', '.join(map(str, wrong))}; classes are 0-{num_classes - 1} and {ignore_label}"
        )


def _describe(error: BaseException, content: bytes) -> str:
    if not content:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image of a known format"
    return str(error) or type(error).__name__
