"""A function of one's own becomes a folder of label maps that the segmenter ``labels`` reads."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.segmentation import slic

from dcn.datasets import FolderDataset
from dcn.errors import InvalidLabelMapError
from dcn.segmenters import LabelsSegmenter
from dcn.segmenters.label_files import write_label_maps
from tests.conftest import draw_photographs


def test_the_maps_of_a_function_are_read_by_the_segmenter(tmp_path: Path) -> None:
    photographs = draw_photographs(tmp_path, 4) / "photos"
    (photographs / "broken.jpg").write_bytes(b"no photograph")
    dataset = FolderDataset(photographs)
    assert write_label_maps(dataset, lambda pixels: slic(pixels, n_segments=4) * 1000, tmp_path / "maps") == 4
    segmenter = LabelsSegmenter(root=tmp_path / "maps")
    for item in dataset.items():
        if item.id == "broken":
            continue
        expected = np.unique(
            slic(np.asarray(Image.open(photographs / item.image)), n_segments=4), return_inverse=True
        )[1]
        with Image.open(tmp_path / "maps" / f"{item.id}.png") as stored:
            np.testing.assert_array_equal(np.asarray(stored), expected.reshape(48, 64))
        assert segmenter.read_map(item.id, 32).shape == (32, 32)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (
            np.zeros((4, 4)),
            r"scene 00 holds float64 of shape \(4, 4\); return integers of shape \(height, width\)",
        ),
        (np.zeros((4, 4, 1), np.uint8), r"of shape \(4, 4, 1\)"),
        (np.arange(256).reshape(16, 16), "has 256 regions; return at most 255"),
    ],
)
def test_what_is_no_label_map_is_an_error(tmp_path: Path, returned: np.ndarray, reason: str) -> None:
    dataset = FolderDataset(draw_photographs(tmp_path, 1) / "photos")
    with pytest.raises(InvalidLabelMapError, match=reason):
        write_label_maps(dataset, lambda _: returned, tmp_path / "maps")
