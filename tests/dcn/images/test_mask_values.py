"""Masks of every mode and any values: read as class indices, or refused with what to do."""

import io

import numpy as np
import pytest
from PIL import Image

from dcn.errors import InvalidMaskError
from dcn.images.mask_values import MaskValues, value_code
from dcn.images.photograph import check_mask, decode_mask, labels_of

LABELS = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def values(**meaning: int) -> MaskValues:
    return MaskValues(
        {value_code(text.strip("_").replace("_", " ")): label for text, label in meaning.items()}
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_equal_channels_are_gray(mode: str, kind: str) -> None:
    """Many programs save every image as RGB or RGBA."""
    content = encoded(Image.fromarray(LABELS).convert(mode), kind)
    np.testing.assert_array_equal(decode_mask(content), LABELS)


def test_one_bit_masks_have_the_classes_0_and_1() -> None:
    bits = LABELS > 0
    for kind in ("PNG", "TIFF", "BMP"):
        found = decode_mask(encoded(Image.fromarray(bits), kind))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, bits)


def test_sixteen_bits_are_read() -> None:
    content = encoded(Image.fromarray(LABELS.astype(np.uint16)))
    np.testing.assert_array_equal(decode_mask(content), LABELS)
    deep = encoded(Image.fromarray(np.array([0, 1, 65535], dtype=np.uint16)[LABELS]))
    with pytest.raises(
        InvalidMaskError, match="values go from 0 to 65535; .*or name the class of each value"
    ):
        decode_mask(deep)
    np.testing.assert_array_equal(decode_mask(deep, values(_0=0, _1=1, _65535=2)), LABELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_of_a_mask_is_applied(orientation: int, kind: str) -> None:
    """As a viewer shows it: the stored mask is turned back."""
    stored = {
        1: LABELS, 2: LABELS[:, ::-1], 3: LABELS[::-1, ::-1], 4: LABELS[::-1], 5: LABELS.T,
        6: np.rot90(LABELS, 1), 7: LABELS[::-1, ::-1].T, 8: np.rot90(LABELS, -1),
    }[orientation]  # fmt: skip
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode_mask(
        encoded(image.convert("RGB") if kind == "WEBP" else image, kind, exif=exif, **options)
    )
    np.testing.assert_array_equal(found, LABELS)


def test_a_turned_mask_of_a_palette_keeps_its_indices() -> None:
    image = Image.fromarray(np.ascontiguousarray(np.rot90(LABELS))).convert("P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(decode_mask(encoded(image, exif=exif)), LABELS)


def test_a_mask_that_is_not_turned_like_its_photograph_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        InvalidMaskError, match=r"3 x 2 pixels, its photograph 2 x 3; turn it like the photo.*EXIF"
    ):
        check_mask(LABELS, 3, 2, 3, 255)


def test_transparent_pixels_are_refused() -> None:
    pixels = np.zeros((2, 3, 4), dtype=np.uint8)
    pixels[..., 3] = [[255, 255, 0], [255, 255, 255]]
    for meaning in (None, values(_0_0_0=0, _255_0_0=1)):
        with pytest.raises(
            InvalidMaskError, match="transparent pixels; fill them with the value of their class"
        ):
            decode_mask(encoded(Image.fromarray(pixels)), meaning)


def test_colors_need_names() -> None:
    palette = np.array([[0, 0, 0], [128, 0, 0], [0, 0, 128]], dtype=np.uint8)
    for mode in ("RGB", "RGBA"):
        content = encoded(Image.fromarray(palette[LABELS]).convert(mode))
        with pytest.raises(InvalidMaskError, match=f"its mode is {mode} and it has colors; .*mask_values"):
            decode_mask(content)
        np.testing.assert_array_equal(decode_mask(content, values(_0_0_0=0, _128_0_0=1, _0_0_128=2)), LABELS)


def test_a_palette_is_read_by_its_colors_where_colors_are_named() -> None:
    image = Image.fromarray(LABELS).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 128])
    found = decode_mask(encoded(image), values(_0_0_0=0, _0_0_128=1, _128_0_0=255))
    np.testing.assert_array_equal(found, np.array([0, 255, 1], dtype=np.uint8)[LABELS])


def test_any_gray_values_are_classes_once_they_are_named() -> None:
    for stored, meaning in (
        ([0, 255, 255], values(_0=0, _255=1)),
        ([0, 128, 128], values(_0=0, _128=1)),
        ([7, 9, 9], values(_9=1, _7=0)),
    ):
        content = encoded(Image.fromarray(np.array(stored, dtype=np.uint8)[LABELS]))
        np.testing.assert_array_equal(decode_mask(content, meaning), LABELS > 0)


def test_values_without_a_name_are_listed() -> None:
    gray = encoded(Image.fromarray(np.arange(6, dtype=np.uint8)[None]))
    with pytest.raises(
        InvalidMaskError, match="it has the value 0, 2, 3 and 2 more, which mask_values does not list"
    ):
        decode_mask(gray, values(_1=0))
    color = encoded(Image.new("RGB", (2, 2), (1, 2, 3)))
    with pytest.raises(
        InvalidMaskError, match="it has the value 1 2 3, which mask_values does not list; name its"
    ):
        decode_mask(color, values(_0_0_0=0))


@pytest.mark.parametrize("mode", ["CMYK", "F", "LAB"])
def test_other_modes_are_refused(mode: str) -> None:
    image = Image.new(mode, (2, 2)) if mode != "LAB" else Image.new("LAB", (2, 2), (9, 9, 9))
    for meaning in (None, values(_0_0_0=0)):
        with pytest.raises(InvalidMaskError, match=f"its mode is {mode}; save class indices in one channel"):
            decode_mask(encoded(image, "TIFF"), meaning)


@pytest.mark.parametrize("text", ["", "x", "-1", "65536", "1 2", "1 2 256", "0x1", "1.5", "1 2 3 4", "²"])
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match="is no value of a mask; write a number as in 255, or red, green and blue"
    ):
        value_code(text)


def test_labels_of_a_large_mask_are_found_in_every_band() -> None:
    mask = np.zeros((3000, 1000), dtype=np.uint8)
    mask[0, 0], mask[1500, 500], mask[-1, -1] = 3, 7, 255
    assert labels_of(mask) == {0, 3, 7, 255}


def test_other_values_may_have_one_label() -> None:
    """As in the masks of benchmarks: what is no class is ignored."""
    found = decode_mask(encoded(Image.fromarray(LABELS)), MaskValues({1: 7}, others=255))
    np.testing.assert_array_equal(found, np.where(LABELS == 1, 7, 255))
    colors = np.zeros((1, 2, 3), np.uint8)
    colors[0, 0] = 1, 2, 3
    named = MaskValues({value_code("1 2 3"): 0}, others=4)
    np.testing.assert_array_equal(decode_mask(encoded(Image.fromarray(colors)), named), [[0, 4]])
    deep = Image.fromarray(np.array([[26001, 7]], dtype=np.uint16))
    np.testing.assert_array_equal(decode_mask(encoded(deep), MaskValues({7: 1}, others=255)), [[255, 1]])
