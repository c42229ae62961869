"""Raw photographs: what the sensor of a camera measured, before it becomes a picture.

rawpy develops them with LibRaw. It is an extra, because few people need it.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.errors import InvalidPhotographError

# Canon, Nikon, Sony, Adobe and Apple, Fujifilm, Olympus, Panasonic.
RAW_SUFFIXES = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})

# First bytes of the formats that are no TIFF.
_MAGIC = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_REDUCED = 1


def is_raw(content: bytes) -> bool:
    """Whether the bytes of a file are a raw photograph.

    Most raw formats are TIFF files, whose first picture is a small preview. A reader of TIFF takes it for
    the photograph, whatever suffix the file has.
    """
    if content.startswith(_MAGIC) or content[4:12] == b"ftypcrx ":
        return True
    if not content.startswith((b"II*\0", b"MM\0*")):
        return False
    return content[8:10] == b"CR" or _is_preview("<" if content.startswith(b"II") else ">", content)


def _is_preview(order: str, content: bytes) -> bool:
    """Whether the first picture of a TIFF file is a preview by its tags, or the file is a DNG."""
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHII", content, start + 2 + 12 * entry)
            if tag == _DNG_VERSION or (tag == _SUBFILE_TYPE and value & _REDUCED):
                return True
    except struct.error:  # the file is cut
        pass
    return False


def decode_raw(content: bytes) -> npt.NDArray[np.uint8]:
    """Develop a raw photograph, upright, with the white balance of the camera.

    Args:
        content: bytes of the file.

    Returns:
        ``[H, W, 3]`` uint8.

    Raises:
        InvalidPhotographError: rawpy is not installed.
        PIL.Image.DecompressionBombError: there are more pixels than any photograph has.
        rawpy.LibRawError: LibRaw cannot read the file.

    """
    try:
        import rawpy
    except ImportError:
        raise InvalidPhotographError(
            "it is a raw photograph; install rawpy (pip install 'dynamic-clustering-network[raw]'), or "
            "convert it to JPEG"
        ) from None
    with rawpy.imread(io.BytesIO(content)) as raw:
        pixels = raw.sizes.raw_width * raw.sizes.raw_height
        if pixels > 2 * (Image.MAX_IMAGE_PIXELS or pixels):
            raise Image.DecompressionBombError
        developed: npt.NDArray[np.uint8] = raw.postprocess(use_camera_wb=True)
        return developed
