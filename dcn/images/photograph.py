"""Decoding of photographs to 8-bit RGB, and of ground-truth masks to class indices."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from pillow_heif import register_heif_opener

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.images.raw import decode_raw, is_raw

# Formats that are decoded, whatever the suffix of a file says. Of Pillow's other formats some run another
# program (Pillow gives EPS to Ghostscript), and none holds photographs.
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Pillow itself does not read the photographs of iPhones. Every process that decodes imports this module.
register_heif_opener()


def decode_photograph(content: bytes, smallest_side: int | None = None) -> npt.NDArray[np.uint8]:
    """Decode an image file to RGB as a viewer would show it.

    The EXIF orientation is applied, transparent pixels are put on white, 16-bit channels are scaled to 8
    bits, and CMYK and palettes become RGB. An animation gives its first frame. A raw photograph is developed
    (:func:`dcn.images.raw.decode_raw`).

    Args:
        content: bytes of the file.
        smallest_side: a JPEG may be decoded at a half, a quarter or an eighth of its size, which is faster,
            if no side becomes shorter than this number of pixels; None: at its own size.

    Returns:
        ``[H, W, 3]`` uint8.

    Raises:
        InvalidPhotographError: the file cannot be decoded; the message has the reason.

    """
    try:
        if is_raw(content):
            return decode_raw(content)
        with _open(content, smallest_side) as image:
            return upright_pixels(image)
    except InvalidPhotographError:
        raise
    except Exception as error:  # every format of Pillow has its own errors for a broken file
        raise InvalidPhotographError(_describe(error, content)) from error


def upright_pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Convert an image to RGB as a viewer would show it, like :func:`decode_photograph`: ``[H, W, 3]`` uint8.

    Raises:
        InvalidPhotographError: its values have no defined brightness.

    """
    return np.asarray(_as_rgb(_upright(image)))


def _open(content: bytes, smallest_side: int | None = None) -> Image.Image:
    """Decode the first frame of an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if smallest_side is not None:
        image.draft(None, (smallest_side, smallest_side))
    image.load()
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the EXIF data are broken; viewers show such a photograph as it is
        return image


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray; Pillow's own conversion would clip at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InvalidPhotographError(
                f"its gray values go from {values.min()} to {values.max()}; save it with 8 or 16 bits"
            )
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise InvalidPhotographError(
            "a floating-point image has no defined brightness; save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def decode_mask(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode a ground-truth mask to class indices.

    Args:
        content: bytes of the file.

    Returns:
        ``[H, W]`` uint8.

    Raises:
        InvalidMaskError: the file is not an image, or it holds colors instead of class indices.

    """
    try:
        with _open(content) as image:
            mode, values = image.mode, np.asarray(image)
    except Exception as error:  # as in decode_photograph
        raise InvalidMaskError(_describe(error, content)) from error
    if mode not in ("P", "L", "1", "I;16", "I"):
        raise InvalidMaskError(
            f"its mode is {mode}; a mask holds class indices in one channel (gray or palette)"
        )
    values = values.astype(np.int64)
    if values.min() < 0 or values.max() > 255:
        raise InvalidMaskError(
            f"its values go from {values.min()} to {values.max()}; save class indices from 0 to 255"
        )
    return values.astype(np.uint8)


def check_mask(
    mask: npt.NDArray[np.uint8], height: int, width: int, num_classes: int, ignore_label: int
) -> None:
    """Check that a mask has the size of its photograph, and only labels of the data set.

    Args:
        mask: ``[H, W]`` class indices.
        height: height of the photograph in pixels.
        width: width of the photograph in pixels.
        num_classes: number of classes, background among them.
        ignore_label: label of pixels that do not count.

    Raises:
        InvalidMaskError: the size differs, or a label is neither a class nor the ignore label.

    """
    if mask.shape != (height, width):
        raise InvalidMaskError(
            f"it has {mask.shape[1]} x {mask.shape[0]} pixels, its photograph {width} x {height}; "
            f"save it at the photograph's size"
        )
    labels = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    wrong = [int(label) for label in labels if label >= num_classes and label != ignore_label]
    if wrong:
        raise InvalidMaskError(
            f"it has label {', '.join(map(str, wrong))}; classes are 0-{num_classes - 1}, "
            f"and {ignore_label} is ignored"
        )


def _describe(error: Exception, content: bytes) -> str:
    """Say what is wrong with a file, and what to do about it."""
    if not content:
        return "the file is empty; copy it again, or remove it"
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image of a known format; convert it to JPEG or PNG, or remove it"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"it has more than {most:,} pixels, like a decompression bomb; make it smaller"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it; make it smaller"
    reason = str(error) or type(error).__name__
    return f"the file is damaged or incomplete ({reason}); copy it again"


def squash(photograph: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize a photograph ``[H, W, 3]`` to a square ``[size, size, 3]`` (section 4.1.2).

    The aspect ratio changes. Interpolation is bicubic, with antialiasing.
    """
    resized = Image.fromarray(photograph).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(resized)  # a writable copy, whose memory PyTorch can share
