"""Photographs of every mode are decoded as a viewer shows them; broken files are refused with a reason."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.images.photograph import check_mask, decode_mask, decode_photograph

RED = (250, 10, 20)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def half_red() -> Image.Image:
    """Left half red, right half white, 8 x 4."""
    pixels = np.full((4, 8, 3), 255, dtype=np.uint8)
    pixels[:, :4] = RED
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("mode", "kind", "tolerance"),
    [("RGB", "PNG", 0), ("P", "PNG", 8), ("P", "GIF", 8), ("RGBA", "PNG", 0), ("RGB", "JPEG", 12), ("CMYK", "TIFF", 0),
     ("CMYK", "JPEG", 12), ("RGB", "BMP", 0), ("RGB", "WEBP", 20), ("YCbCr", "JPEG", 12)],
)  # fmt: skip
def test_every_mode_is_decoded_to_rgb(mode: str, kind: str, tolerance: int) -> None:
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    image = half_red().quantize(4) if mode == "P" else half_red().convert(mode)
    pixels = decode_photograph(encoded(image, kind, **options))
    assert pixels.shape == (4, 8, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[1, 1].astype(int), RED, atol=tolerance)
    np.testing.assert_allclose(pixels[1, 6].astype(int), 255, atol=tolerance)


def test_gray_and_one_bit_images_are_decoded_to_rgb() -> None:
    gray = Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint8))
    np.testing.assert_array_equal(decode_photograph(encoded(gray))[0], [[0] * 3, [100] * 3, [255] * 3])
    np.testing.assert_array_equal(
        decode_photograph(encoded(gray.convert("1", dither=Image.Dither.NONE)))[0, ::2], [[0] * 3, [255] * 3]
    )


def test_sixteen_bit_gray_is_scaled_and_not_clipped() -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(
            decode_photograph(encoded(Image.fromarray(values), kind))[0, :, 0], [0, 100, 255]
        )


def test_transparent_pixels_become_white() -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 0], pixels[0, :, 3] = 200, [255, 0, 128]
    result = decode_photograph(encoded(Image.fromarray(pixels)))[0]
    np.testing.assert_allclose(result.astype(int), [[200, 0, 0], [255, 255, 255], [227, 127, 127]], atol=1)


def test_a_transparent_palette_color_becomes_white() -> None:
    image = half_red().quantize(4)
    hidden = image.getpixel((0, 0))
    result = decode_photograph(encoded(image, transparency=hidden))
    assert (result == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = half_red()
    stored = {
        1: upright, 2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 3: upright.rotate(180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM), 5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90), 7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decode_photograph(encoded(stored, exif=exif))
    np.testing.assert_array_equal(result, np.asarray(upright))


def test_an_animation_gives_its_first_frame() -> None:
    frames = [half_red(), Image.new("RGB", (8, 4), "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode_photograph(content)[1, 1].astype(int), RED, atol=8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(Image.effect_noise((64, 64), 50))[:300], "truncated"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:300], "Truncated"),
        (encoded(Image.new("F", (2, 2), 0.5), "TIFF"), "floating-point image"),
        (
            encoded(Image.fromarray(np.array([[-5, 70000]], dtype=np.int32)), "TIFF"),
            "save it with 8 or 16 bits",
        ),
    ],
    ids=["cut PNG", "cut JPEG", "float", "32 bit"],
)
def test_broken_files_are_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidPhotographError, match=reason):
        decode_photograph(content)


def test_palette_masks_keep_their_indices() -> None:
    labels = np.array([[0, 1, 20, 255]], dtype=np.uint8)
    image = Image.fromarray(labels).convert("P")
    image.putpalette(list(range(256)) * 3)
    np.testing.assert_array_equal(decode_mask(encoded(image)), labels)
    np.testing.assert_array_equal(decode_mask(encoded(Image.fromarray(labels))), labels)


def test_masks_of_colors_are_refused() -> None:
    with pytest.raises(
        InvalidMaskError, match="its mode is RGB and it has colors; save class indices in one channel"
    ):
        decode_mask(encoded(half_red()))
    with pytest.raises(InvalidMaskError, match="values go from 0 to 300"):
        decode_mask(encoded(Image.fromarray(np.array([[0, 300]], dtype=np.uint16))))


def test_a_mask_must_match_its_image_and_the_classes() -> None:
    mask = np.array([[0, 37, 255]], dtype=np.uint8)
    with pytest.raises(InvalidMaskError, match=r"it has label 37; classes are 0-20, and 255 is ignored"):
        check_mask(mask, 1, 3, 21, 255)
    with pytest.raises(InvalidMaskError, match="it has 3 x 1 pixels, its photograph 3 x 2"):
        check_mask(mask, 2, 3, 38, 255)
    check_mask(mask, 1, 3, 38, 255)


@pytest.mark.slow
def test_the_largest_photograph_takes_less_than_2_gigabytes() -> None:
    """With everything that makes copies: transparency, and an orientation. In a process of its own."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom dcn.images.photograph import decode_photograph\n"
        "assert decode_photograph(sys.stdin.buffer.read()).shape == (13370, 13370, 3)\n"
        "status = Path('/proc/self/status').read_text().splitlines()\n"
        "print(next(line.split()[1] for line in status if line.startswith('VmHWM')))"
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.new("RGBA", (13370, 13370)), exif=exif, compress_level=1)
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2_000_000  # kilobytes
