"""HEIC is read like JPEG; raw photographs are developed if rawpy is installed, and refused by name if not."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dcn.errors import InvalidPhotographError
from dcn.images.photograph import decode_photograph
from dcn.images.raw import is_raw
from tests.conftest import draw_scene
from tests.dcn.images.camera_files import dng, heic, preview_first

SCENE = Image.fromarray(draw_scene(1)[0])


def test_heic_is_read_in_every_process_that_can_decode() -> None:
    """In a process that imports nothing else, as a worker of Dask does."""
    code = (
        "import sys\nfrom dcn.images.photograph import decode_photograph\n"
        "print(decode_photograph(sys.stdin.buffer.read()).shape)"
    )
    run = subprocess.run([sys.executable, "-c", code], input=heic(SCENE), capture_output=True, check=True)
    assert run.stdout.split() == b"(48, 64, 3)".split()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_heic_looks_like_the_picture_that_was_saved(mode: str) -> None:
    saved = SCENE.convert(mode)
    pixels = decode_photograph(heic(saved, quality=95))
    difference = np.abs(pixels.astype(int) - np.asarray(saved.convert("RGB")))
    assert difference.mean() < 8  # noise of the ground, in half the resolution of color


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.new("RGB", (64, 32), "blue")
    stored.paste("red", (0, 0, 32, 32))
    jpeg = io.BytesIO()
    stored.save(jpeg, format="JPEG", exif=exif, quality=95)
    expected = decode_photograph(jpeg.getvalue())
    pixels = decode_photograph(heic(stored, exif=exif.tobytes(), quality=95))
    assert pixels.shape == expected.shape
    assert (
        np.abs(pixels.astype(int) - expected).mean() < 3
    )  # turned otherwise, half of the pixels would differ


def test_a_damaged_heic_is_refused_with_a_reason() -> None:
    content = heic(SCENE)
    with pytest.raises(InvalidPhotographError, match="the file is damaged or incomplete"):
        decode_photograph(content[: len(content) // 2])


@pytest.mark.parametrize(("orientation", "red"), [(1, "left"), (3, "right"), (6, "top"), (8, "bottom")])
def test_a_raw_photograph_is_developed_upright(orientation: int, red: str) -> None:
    pixels = decode_photograph(dng(orientation)).astype(int)
    assert pixels.shape == ((48, 64, 3) if orientation in (1, 3) else (64, 48, 3))
    height, width = pixels.shape[:2]
    places = {
        "left": (height // 2, width // 4), "right": (height // 2, 3 * width // 4),
        "top": (height // 4, width // 2), "bottom": (3 * height // 4, width // 2),
    }  # fmt: skip
    redness = {side: pixels[place][0] - pixels[place][1] for side, place in places.items()}
    assert redness.pop(red) > 150
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[red]
    assert redness[opposite] < 20


@pytest.mark.parametrize(
    "content", [dng(), preview_first(), b"II*\0\x10\0\0\0CR\x02\0"], ids=["DNG", "NEF", "CR2"]
)
def test_without_rawpy_a_raw_photograph_is_refused_and_its_preview_is_not_taken(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    reason = r"install rawpy \(pip install 'dynamic-clustering-network\[raw\]'\), or convert it to JPEG"
    with pytest.raises(InvalidPhotographError, match=reason):
        decode_photograph(content)


def test_a_damaged_raw_photograph_is_refused_with_a_reason() -> None:
    with pytest.raises(InvalidPhotographError, match="the file is damaged or incomplete"):
        decode_photograph(dng()[:2000])


def test_a_raw_photograph_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InvalidPhotographError, match="it has more than 2,000 pixels"):
        decode_photograph(dng())


@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG", "WEBP", "AVIF"])
def test_other_photographs_are_not_raw(kind: str) -> None:
    buffer = io.BytesIO()
    SCENE.save(buffer, format=kind)
    assert not is_raw(buffer.getvalue())
    assert not is_raw(buffer.getvalue()[:9])
    assert not is_raw(b"")


@pytest.mark.parametrize(
    "start", [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0", b"\0\0\0\x18ftypcrx "]
)
def test_raw_formats_that_are_no_tiff_are_known(start: bytes) -> None:
    assert is_raw(start)
