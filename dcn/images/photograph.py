"""Decoding of photographs to 8-bit RGB, and of ground-truth masks to class indices."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from pillow_heif import register_heif_opener

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.images.bands import bands
from dcn.images.mask_values import MaskValues, gray_values
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
        with _decoded(content, smallest_side) as image:
            return _pixels(image)
    except InvalidPhotographError:
        raise
    except Exception as error:  # every format of Pillow has its own errors for a broken file
        raise InvalidPhotographError(_describe(error, content)) from error


def upright_pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Convert an image to RGB as a viewer would show it, like :func:`decode_photograph`: ``[H, W, 3]`` uint8.

    Raises:
        InvalidPhotographError: its values have no defined brightness.

    """
    with suppress(Exception):  # as below; the caller's image stays as it is
        image = ImageOps.exif_transpose(image)
    return _pixels(image)


@contextmanager
def _decoded(content: bytes, smallest_side: int | None = None) -> Iterator[Image.Image]:
    """Decode the first frame of an image, upright. Warnings of Pillow about the file are for programmers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if smallest_side is not None:
                image.draft(None, (smallest_side, smallest_side))
            image.load()
            with suppress(Exception):  # the EXIF data are broken; viewers show such a photograph as it is
                ImageOps.exif_transpose(image, in_place=True)  # a copy would hold a large photograph twice
            yield image


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Convert an image to RGB ``[H, W, 3]``, band by band: copies of a large one would take gigabytes."""
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for band in bands(image.height, image.width):
        pixels[band] = np.asarray(_as_rgb(image.crop((0, band.start, image.width, band.stop))))
    return pixels


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray; Pillow's own conversion would clip at 255
        values = np.asarray(image)
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


def decode_mask(content: bytes, values: MaskValues | None = None) -> npt.NDArray[np.uint8]:
    """Decode a ground-truth mask to class indices. Its own EXIF orientation is applied.

    Args:
        content: bytes of the file.
        values: class of each value of the mask; None: the values are class indices.

    Returns:
        ``[H, W]`` uint8.

    Raises:
        InvalidMaskError: the file is not an image, or its values mean no class.

    """
    try:
        with _decoded(content) as image:
            return _indices(image) if values is None else values.classes(image)
    except InvalidMaskError:
        raise
    except Exception as error:  # as in decode_photograph
        raise InvalidMaskError(_describe(error, content)) from error


def _indices(image: Image.Image) -> npt.NDArray[np.uint8]:
    indices = gray_values(image)
    if indices.min() < 0 or indices.max() > 255:
        raise InvalidMaskError(
            f"its values go from {indices.min()} to {indices.max()}; save class indices from 0 to 255, or "
            f"name the class of each value in mask_values"
        )
    return indices.astype(np.uint8)


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
        if mask.shape == (width, height):
            raise InvalidMaskError(
                f"it has {mask.shape[1]} x {mask.shape[0]} pixels, its photograph {width} x {height}; "
                f"turn it like the photograph (EXIF)"
            )
        raise InvalidMaskError(
            f"it has {mask.shape[1]} x {mask.shape[0]} pixels, its photograph {width} x {height}; "
            f"save it at the photograph's size"
        )
    wrong = sorted(label for label in labels_of(mask) if label >= num_classes and label != ignore_label)
    if wrong:
        raise InvalidMaskError(
            f"it has label {', '.join(map(str, wrong))}; classes are 0-{num_classes - 1}, "
            f"and {ignore_label} is ignored; mask_values can name the class of each value"
        )


def labels_of(mask: npt.NDArray[np.uint8]) -> set[int]:
    """Collect the labels that occur in a mask ``[H, W]``."""
    found: set[int] = set()
    for band in bands(*mask.shape):  # counting widens the labels to eight bytes
        found.update(np.flatnonzero(np.bincount(mask[band].ravel())).tolist())
    return found


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
