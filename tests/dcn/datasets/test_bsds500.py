"""BSDS500 on a tiny data set of the same layout, with ground truth in nested MATLAB structs."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dcn.datasets import BSDS500Dataset, Item, SampleDataset
from dcn.errors import InvalidDatasetError, InvalidMaskError

HEIGHT, WIDTH = 5, 7
DATA = Path("BSR/BSDS500/data")


def annotations(*segmentations: np.ndarray) -> np.ndarray:
    """``groundTruth{1,i}.Segmentation``, as the authors' files hold it."""
    cells = np.empty((1, len(segmentations)), dtype=object)
    for i, segmentation in enumerate(segmentations):
        cells[0, i] = {"Segmentation": segmentation, "Boundaries": segmentation > 1}
    return cells


def regions(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 300, (HEIGHT, WIDTH)).astype(np.uint16)


@pytest.fixture
def bsds(tmp_path: Path) -> Path:
    for split, names in {"train": ["12003", "8049"], "val": ["3096"], "test": ["2018"]}.items():
        for folder in ("images", "groundTruth"):
            (tmp_path / DATA / folder / split).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / DATA / "images" / split / f"{name}.jpg")
            savemat(
                tmp_path / DATA / "groundTruth" / split / f"{name}.mat",
                {"groundTruth": annotations(*(regions(int(name) + i) for i in range(3)))},
                do_compression=True,
            )
        (tmp_path / DATA / "images" / split / "Thumbs.db").write_bytes(b"as in the authors' archive")
    return tmp_path


def only_item(root: Path) -> tuple[BSDS500Dataset, Item, Path]:
    """The one photograph of ``test``, and the file of its ground truth."""
    dataset = BSDS500Dataset(root, "test", "test")
    (item,) = dataset.items()
    return dataset, item, root / DATA / "groundTruth" / "test" / "2018.mat"


def test_items_are_the_photographs_of_both_splits(bsds: Path) -> None:
    dataset = BSDS500Dataset(bsds)
    items = {item.id: item for item in dataset.items()}
    assert list(items) == ["test/2018", "train/12003", "train/8049"]
    assert items["train/8049"] == Item("train/8049", "images/train/8049.jpg", None, ("train",))
    assert (dataset.root / items["test/2018"].image).is_file()
    assert dataset.class_names == ()
    assert dataset.read_mask(items["test/2018"], HEIGHT, WIDTH) is None
    assert [item.splits for item in BSDS500Dataset(bsds, "val", "val").items()] == [("val",)]


def test_the_segmentations_of_all_annotators_are_read(bsds: Path) -> None:
    dataset, item, _ = only_item(bsds)
    found = dataset.read_segmentations(item, HEIGHT, WIDTH)
    assert len(found) == 3
    for i, segmentation in enumerate(found):
        assert segmentation.dtype == np.uint16
        np.testing.assert_array_equal(segmentation, regions(2018 + i))


def test_segmentations_in_a_smaller_integer_type_are_read(bsds: Path) -> None:
    """MATLAB stores small numbers in small types."""
    dataset, item, file = only_item(bsds)
    savemat(file, {"groundTruth": annotations(np.ones((HEIGHT, WIDTH), dtype=np.uint8))})
    (segmentation,) = dataset.read_segmentations(item, HEIGHT, WIDTH)
    assert segmentation.dtype == np.uint16
    assert (segmentation == 1).all()


def test_other_data_sets_have_no_segmentations() -> None:
    dataset = SampleDataset()
    assert dataset.read_segmentations(next(dataset.items()), 3, 4) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.ones(1)}, "has no groundTruth; copy the file of BSDS500 again"),
        ({"groundTruth": annotations()}, "has no groundTruth"),
        ({"groundTruth": np.ones((1, 2))}, "has an annotation without Segmentation"),
        ({"groundTruth": annotations(np.ones((2, 3), dtype=np.uint16))}, r"of shape \(2, 3\), its photograph \(5, 7\)"),
        ({"groundTruth": annotations(np.full((HEIGHT, WIDTH), 0.5))}, "that is not an array of 16-bit integers"),
        ({"groundTruth": annotations(np.zeros((HEIGHT, WIDTH), dtype=np.uint16))}, "every pixel is 0, unlabeled"),
    ],
)  # fmt: skip
def test_wrong_content_of_a_ground_truth_file_is_named(
    bsds: Path, content: dict[str, np.ndarray], message: str
) -> None:
    dataset, item, file = only_item(bsds)
    savemat(file, content)
    with pytest.raises(InvalidMaskError, match=f"2018.mat {message}|2018.mat has a Segmentation .*{message}"):
        dataset.read_segmentations(item, HEIGHT, WIDTH)


@pytest.mark.parametrize("size", [0, 60, 128, 200, -1])
def test_an_unreadable_ground_truth_file_is_named(bsds: Path, size: int) -> None:
    dataset, item, file = only_item(bsds)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(
        InvalidMaskError, match=r"2018\.mat (cannot be read as a MAT file|has no groundTruth)"
    ):
        dataset.read_segmentations(item, HEIGHT, WIDTH)
    file.write_bytes(b"not a MAT file" * 20)
    with pytest.raises(InvalidMaskError, match=r"2018\.mat cannot be read as a MAT file"):
        dataset.read_segmentations(item, HEIGHT, WIDTH)
    file.unlink()
    with pytest.raises(InvalidMaskError, match=r"there is no .*2018\.mat"):
        dataset.read_segmentations(item, HEIGHT, WIDTH)


def test_missing_folders_are_named(bsds: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match=r"give the folder that holds BSR/BSDS500/data"):
        BSDS500Dataset(tmp_path / "elsewhere")
    with pytest.raises(InvalidDatasetError, match=r"images.trainval; the split 'trainval' needs them"):
        list(BSDS500Dataset(bsds, "trainval").items())


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_failure_of_the_file_system_is_no_refusal(
    bsds: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A retry may succeed, so the photograph must not lose its ground truth."""
    dataset, item, file = only_item(bsds)
    opened = os.open

    def failing(path: str | Path, flags: int, *arguments: int) -> int:
        if Path(path) == file:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, flags, *arguments)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(OSError, match=os.strerror(number)):
        dataset.read_segmentations(item, HEIGHT, WIDTH)


def test_ground_truth_that_is_no_file_is_refused(bsds: Path) -> None:
    dataset, item, file = only_item(bsds)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InvalidMaskError, match=r"2018\.mat cannot be read: it is a pipe, not a file"):
        dataset.read_segmentations(item, HEIGHT, WIDTH)
