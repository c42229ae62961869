"""Reading photographs of every kind as 8-bit RGB, and ground-truth masks as class indices."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from dcn.errors import InvalidMaskError, InvalidPhotographError

# What is decoded, whatever the name of a file says. Of the rest of Pillow's formats some run another program
# (EPS is given to Ghostscript), and none is that of photographs.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def decode_photograph(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode an image file to ``[H, W, 3]`` uint8 as a viewer would show it.

    Orientation is taken from EXIF, transparency is put on white, 16-bit channels are scaled to 8, CMYK and
    palettes become RGB; of an animation the first frame is taken.

    Raises:
        InvalidPhotographError: with the reason.

    """
    try:
        with _open(content) as image:
            return np.asarray(_as_rgb(_upright(image)))
    except InvalidPhotographError:
        raise
    except Exception as error:  # each format of Pillow has errors of its own for a broken file
        raise InvalidPhotographError(_describe(error, content)) from error


def _open(content: bytes) -> Image.Image:
    """The first frame of an image, decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    image.load()
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # of broken EXIF; a viewer shows such a photograph, too
        return image


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InvalidPhotographError(
                f"its grey values go from {values.min()} to {values.max()}; save it with 8 or 16 bits"
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
    """Decode a ground-truth mask to ``[H, W]`` uint8 class indices.

    Raises:
        InvalidMaskError: it is no image, or one of colours instead of indices.

    """
    try:
        with _open(content) as image:
            mode, values = image.mode, np.asarray(image)
    except Exception as error:  # see decode_photograph
        raise InvalidMaskError(_describe(error, content)) from error
    if mode not in ("P", "L", "1", "I;16", "I"):
        raise InvalidMaskError(
            f"its mode is {mode}; a mask holds class indices in one channel (grey or palette)"
        )
    values = values.astype(np.int64)
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


def _describe(error: Exception, content: bytes) -> str:
    """What is wrong with a file, and what to do about it."""
    if not content:
        return "the file is empty; copy it anew, or remove it"
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image of a known format; convert it to JPEG or PNG, or remove it"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"it has more than {most:,} pixels, as a decompression bomb has; make it smaller"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it; make it smaller"
    reason = str(error) or type(error).__name__
    return f"the file is damaged or was not copied whole ({reason}); copy it anew"


def squash(photograph: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize ``[H, W, 3]`` to ``[size, size, 3]``, not keeping the aspect ratio (section 4.1.2)."""
    resized = Image.fromarray(photograph).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(resized)  # a copy that PyTorch may share
