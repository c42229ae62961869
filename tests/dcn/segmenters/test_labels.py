"""Label maps of other programs: any size and type is read, and a wrong map is refused with a reason."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcn.errors import InvalidLabelMapError, InvalidOptionError
from dcn.segmenters import LabelsSegmenter
from dcn.segmenters.assignment import map_assignment
from tests.dcn.segmenters.synthetic_tokens import check_assignment

QUARTERS = np.array([[7, 7, 40], [7, 7, 40], [0, 0, 255]])


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def npy(values: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        *(npy(QUARTERS.astype(kind)) for kind in (np.uint8, np.int64, ">i4", np.uint16)),
        npy(np.asfortranarray(QUARTERS)),
        npy(QUARTERS - 100),
        npy(QUARTERS.repeat(50, axis=0).repeat(20, axis=1)),
    ],
)
def test_arrays_of_any_integers_and_any_size_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    labels = LabelsSegmenter(root=tmp_path).read_map("a", 6)
    np.testing.assert_array_equal(
        labels, np.searchsorted([0, 7, 40, 255], QUARTERS).repeat(2, 0).repeat(2, 1)
    )


def test_gray_and_palette_pictures_are_read_by_their_values(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "gray.png").write_bytes(png(QUARTERS.astype(np.uint8)))
    (tmp_path / "deep.png").write_bytes(png((QUARTERS * 257).astype(np.uint16)))
    palette = Image.fromarray(QUARTERS.astype(np.uint8)).convert("P")
    palette.putpalette([0] * 768)  # every value has the same color
    palette.save(tmp_path / "palette.png")
    (tmp_path / "bits.npy").write_bytes(npy(QUARTERS > 7))
    segmenter = LabelsSegmenter(root=tmp_path)
    for name in ("left/gray", "deep", "palette"):
        np.testing.assert_array_equal(segmenter.read_map(name, 3), [[1, 1, 2], [1, 1, 2], [0, 0, 3]])
    np.testing.assert_array_equal(segmenter.read_map("bits", 3), QUARTERS > 7)


def test_a_map_is_scaled_to_the_nearest_pixel_like_pillow_does(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, (37, 61)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(values))
    nearest = np.asarray(Image.fromarray(values).resize((16, 16), Image.Resampling.NEAREST))
    read = LabelsSegmenter(root=tmp_path).read_map("a", 16)
    np.testing.assert_array_equal(read, np.unique(nearest, return_inverse=True)[1].reshape(16, 16))


MANY = np.arange(64).reshape(8, 8)
CLAIMED = npy(np.zeros((4, 4), np.uint8)).replace(b"(4, 4)", b"(9, 9)")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b"", "cannot be used"),
        ("a.png", png(np.zeros((4, 4, 3), np.uint8)), "its mode is RGB; save labels in one channel"),
        ("a.png", png(MANY.astype(np.uint8))[:45], "cannot be used"),
        ("a.npy", b"", "cannot be used"),
        ("a.npy", npy(np.zeros((4, 4))), r"it holds float64 of shape \(4, 4\); save integers"),
        (
            "a.npy",
            npy(np.zeros((4, 4, 1), np.uint8)),
            r"of shape \(4, 4, 1\); save integers of shape \(height, width\)",
        ),
        ("a.npy", npy(np.zeros((0, 4), np.uint8)), r"of shape \(0, 4\)"),
        ("a.npy", npy(np.array([[object()]]), allow_pickle=True), "it holds object"),
        ("a.npy", pickle.dumps(MANY), "cannot be used"),
        ("a.npy", npy(MANY)[:-1], "its size is not that of shape"),
        ("a.npy", CLAIMED, r"its size is not that of shape \(9, 9\)"),
        ("a.npy", npy(MANY), "has 64 regions; raise num_regions, which is 32"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused_with_its_file(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidLabelMapError, match=reason) as raised:
        LabelsSegmenter(root=tmp_path).read_map("a", 8)
    assert str(tmp_path / name) in str(raised.value)


def test_a_missing_map_names_both_places(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabelMapError, match=r"it has no label map .*left/a\.png or .*left/a\.npy"):
        LabelsSegmenter(root=tmp_path).read_map("left/a", 8)
    (tmp_path / "a.png").symlink_to("nowhere")
    with pytest.raises(InvalidLabelMapError, match="it is a link to a file that does not exist"):
        LabelsSegmenter(root=tmp_path).read_map("a", 8)


def test_the_content_follows_the_maps_and_nothing_else(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "a.png").write_bytes(png(QUARTERS.astype(np.uint8)))
    before = LabelsSegmenter(root=here).content()
    (here / "notes.txt").touch()
    assert LabelsSegmenter(root=here).content() == before
    (here / "b.png").write_bytes(png(QUARTERS.astype(np.uint8)))
    both = LabelsSegmenter(root=here).content()
    assert both != before
    (here / "b.png").write_bytes(png((QUARTERS > 0).astype(np.uint8)))
    assert LabelsSegmenter(root=here).content() not in (before, both)
    (here / "broken.png").symlink_to("nowhere")
    changed = LabelsSegmenter(root=here).content()
    here.rename(there)
    assert LabelsSegmenter(root=there).content() == changed
    with pytest.raises(InvalidOptionError, match="there is no folder .*here"):
        LabelsSegmenter(root=here).content()


def test_a_patch_belongs_to_the_region_with_most_of_its_pixels() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[:4, 4:] = 1
    labels[4:, 4:7] = 2
    labels[7, 0] = 3  # most of no patch
    assignment = map_assignment(labels, patches=4, num_regions=5)
    np.testing.assert_array_equal(check_assignment(assignment, 4, 5), [0, 1, 0, 2])
    assert (assignment[:, 3:] == -1).all()
