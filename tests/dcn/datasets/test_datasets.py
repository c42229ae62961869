"""VOC 2012 and plain folders on tiny data sets of the same layout; the sample with its real photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from dcn.datasets import (
    BSDS500Options,
    FolderDataset,
    FolderOptions,
    SampleDataset,
    SampleOptions,
    VOC2012Dataset,
    VOC2012Options,
)
from dcn.errors import InvalidDatasetError, InvalidMaskError
from dcn.images.photograph import decode_photograph


def save(path: Path, value: int = 0, size: tuple[int, int] = (4, 3), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    splits = {"train": ["a", "b"], "val": ["c"], "trainval": ["a", "b", "c"], "train_aug": ["a", "b", "d"]}
    for split, names in splits.items():
        path = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names) + "\n")
    for name in "abcd":
        save(folder / "JPEGImages" / f"{name}.jpg", mode="RGB")
    for name in "abc":
        save(folder / "SegmentationClass" / f"{name}.png", 5)
    for name in "abd":
        save(folder / "SegmentationClassAug" / f"{name}.png", 7)
    return tmp_path


def test_voc_prefers_train_aug(voc: Path) -> None:
    dataset = VOC2012Dataset(voc)
    assert dataset.train_split == "train_aug"
    items = {item.id: item for item in dataset.items()}
    assert list(items) == ["a", "b", "c", "d"]
    assert items["a"].splits == ("train_aug",)
    assert items["a"].mask == "SegmentationClassAug/a.png"
    assert items["c"].splits == ("val",)
    assert items["c"].mask == "SegmentationClass/c.png"
    np.testing.assert_array_equal(dataset.read_mask(items["d"], 3, 4), np.full((3, 4), 7))
    assert len(dataset.class_names) == 21


def test_voc_without_sbd_trains_on_train(voc: Path) -> None:
    (voc / "VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt").unlink()
    dataset = VOC2012Dataset(voc)
    assert dataset.train_split == "train"
    assert [item.id for item in dataset.items()] == ["a", "b", "c"]
    with pytest.raises(InvalidDatasetError, match=r"train_aug.txt.*they come with SBD"):
        list(VOC2012Dataset(voc, "train_aug").items())


def test_voc_with_the_list_of_sbd_needs_its_masks(voc: Path) -> None:
    (voc / "VOCdevkit/VOC2012/SegmentationClassAug").rename(voc / "elsewhere")
    with pytest.raises(InvalidDatasetError, match=r"needs the masks of SBD in .*SegmentationClassAug"):
        VOC2012Dataset(voc)
    assert VOC2012Dataset(voc, "train").train_split == "train"


def test_voc_splits_may_overlap(voc: Path) -> None:
    items = {item.id: item.splits for item in VOC2012Dataset(voc, "trainval", "val").items()}
    assert items == {"a": ("trainval",), "b": ("trainval",), "c": ("trainval", "val")}


def test_voc_lists_the_same_files_as_torchvision(voc: Path) -> None:
    from torchvision.datasets import VOCSegmentation

    theirs = VOCSegmentation(str(voc), year="2012", image_set="train", download=False)
    ours = list(VOC2012Dataset(voc, "train", "train").items())
    root = voc / "VOCdevkit" / "VOC2012"
    assert [str(root / item.image) for item in ours] == theirs.images
    assert [str(root / str(item.mask)) for item in ours] == theirs.masks


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
@pytest.mark.parametrize(
    ("line", "mask"),
    [
        ("{}\n", "SegmentationClassAug/{}.png"),
        ("{}\r\n", "SegmentationClassAug/{}.png"),
        ("  {}  -1\n", "SegmentationClassAug/{}.png"),  # as in ImageSets/Main
        ("{}.jpg\n", "SegmentationClassAug/{}.png"),
        ("/JPEGImages/{}.jpg /SegmentationClass/{}.png\n", "SegmentationClass/{}.png"),
        ("JPEGImages/{}.jpg\tSegmentationClassAug/{}.png\r\n", "SegmentationClassAug/{}.png"),
        ("/d/VOC2012/JPEGImages/{}.jpg  /d/VOC2012/SegmentationClass/{}.png\n", "SegmentationClass/{}.png"),
        ("/JPEGImages/{}.jpg\n", "SegmentationClassAug/{}.png"),
    ],
)
def test_voc_lists_are_read_in_the_forms_and_encodings_of_other_tools(
    voc: Path, line: str, mask: str, encoding: str
) -> None:
    text = "".join(line.format(name, name) for name in ("a", "b", "a"))
    path = voc / "VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt"
    path.write_bytes(text.encode(encoding))
    items = list(VOC2012Dataset(voc, "train_aug", "val").items())
    assert [item.id for item in items] == ["a", "b", "c"]
    assert [item.image for item in items] == [f"JPEGImages/{name}.jpg" for name in "abc"]
    assert [item.mask for item in items[:2]] == [mask.format("a"), mask.format("b")]
    assert items[0].splits == ("train_aug",)


def test_a_voc_list_with_a_mask_elsewhere_is_refused(voc: Path) -> None:
    path = voc / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    for mask in ("/labels/a.png", "SegmentationClass/../../a.png", "SegmentationClass/a.jpg"):
        path.write_text(f"/JPEGImages/a.jpg {mask}\n")
        with pytest.raises(
            InvalidDatasetError, match=f"names '{mask}' as the mask of 'a'; write Segmentation"
        ):
            list(VOC2012Dataset(voc, "train").items())


def test_a_missing_voc_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match=r"give the folder that holds VOCdevkit/VOC2012 as root"):
        VOC2012Dataset(tmp_path)


def test_folder_is_searched_recursively(tmp_path: Path) -> None:
    for name in ("b.png", "sub/a.jpg", "sub/deeper/c d.PNG", "same.jpg", "same.png"):
        save(tmp_path / "photos" / name, mode="RGB")
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    (tmp_path / "photos" / "broken.jpg").write_text("listed, so that the index can refuse it")
    items = list(FolderDataset(tmp_path / "photos").items())
    assert [item.id for item in items] == ["b", "broken", "same.jpg", "same.png", "sub/a", "sub/deeper/c d"]
    assert {item.mask for item in items} == {None}


def test_masks_inside_the_folder_are_not_photographs(tmp_path: Path) -> None:
    save(tmp_path / "x" / "a.jpg", mode="RGB")
    save(tmp_path / "b.jpg", mode="RGB")
    save(tmp_path / "masks" / "x" / "a.png", 1)
    (tmp_path / "classes.txt").write_text("ground\nthing\n\n")
    dataset = FolderDataset(tmp_path, tmp_path / "masks", tmp_path / "classes.txt")
    items = {item.id: item for item in dataset.items()}
    assert set(items) == {"b", "x/a"}
    assert dataset.class_names == ("ground", "thing")
    np.testing.assert_array_equal(dataset.read_mask(items["x/a"], 3, 4), np.ones((3, 4)))
    assert dataset.read_mask(items["b"], 3, 4) is None
    with pytest.raises(InvalidMaskError, match="it has 4 x 3 pixels, its photograph 4 x 4"):
        dataset.read_mask(items["x/a"], 4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": "gone"}, "there is no folder .*gone"),
        ({"root": ".", "masks": "gone"}, "there is no folder .*gone"),
        ({"root": ".", "masks": "."}, "masks need class names; give a text file"),
        ({"root": ".", "classes": "gone.txt"}, "the class names .*gone.txt cannot be read"),
        (
            {"root": ".", "classes": "one.txt"},
            "has 1 class names; it needs the background and 1 to 254 other classes",
        ),
    ],
)
def test_wrong_folder_options_are_named(tmp_path: Path, arguments: dict[str, str], message: str) -> None:
    (tmp_path / "one.txt").write_text("background")
    with pytest.raises(InvalidDatasetError, match=message):
        FolderOptions(**{name: tmp_path / value for name, value in arguments.items()}).open()


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match="there is no image in"):
        list(FolderDataset(tmp_path).items())


def test_options_know_whether_there_are_masks_with_classes(voc: Path, tmp_path: Path) -> None:
    """Before any file is read; the data set says the same once it is open."""
    (tmp_path / "BSR" / "BSDS500" / "data").mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("background\nred\n")
    labelled = FolderOptions(root=tmp_path, masks=tmp_path, classes=tmp_path / "classes.txt")
    for options, expected in (
        (SampleOptions(), True),
        (VOC2012Options(root=voc), True),
        (labelled, True),
        (FolderOptions(root=tmp_path), False),
        (BSDS500Options(root=tmp_path), False),
    ):
        assert options.has_classes == bool(options.open().class_names) == expected
    assert not FolderOptions(root=tmp_path, classes=tmp_path / "classes.txt").has_classes  # but no masks


def test_sample_has_the_photographs_of_scikit_image() -> None:
    dataset = SampleDataset()
    items = {item.id: item for item in dataset.items()}
    assert len(items) == 8
    pixels = decode_photograph((dataset.root / items["chelsea"].image).read_bytes())
    np.testing.assert_array_equal(pixels, data.chelsea())


def test_sample_masks_have_the_right_class_at_known_points() -> None:
    """A person read the points off the photographs. Objects also cover a plausible share of each photograph."""
    dataset = SampleDataset()
    points = {
        "astronaut": [((80, 220), "person"), ((400, 150), "person"), ((100, 425), "rocket"), ((20, 330), "background")],
        "chelsea": [((110, 170), "cat"), ((280, 50), "cat"), ((50, 430), "background")],
        "china": [((90, 230), "building"), ((260, 200), "building"), ((100, 500), "background"), ((400, 100), "background")],
        "coffee": [((150, 300), "cup"), ((200, 110), "cup"), ((30, 550), "background")],
        "flower": [((220, 305), "flower"), ((405, 360), "flower"), ((100, 100), "background")],
        "motorcycle_left": [((180, 430), "motorcycle"), ((330, 200), "motorcycle"), ((60, 200), "background")],
        "motorcycle_right": [((180, 380), "motorcycle"), ((330, 160), "motorcycle"), ((60, 200), "background")],
        "rocket": [((200, 322), "rocket"), ((380, 322), "rocket"), ((200, 200), "background")],
    }  # fmt: skip
    for item in dataset.items():
        height, width, _ = decode_photograph((dataset.root / item.image).read_bytes()).shape
        mask = dataset.read_mask(item, height, width)
        assert mask is not None
        assert mask.dtype == np.uint8
        for (row, column), name in points[item.id]:
            assert dataset.class_names[mask[row, column]] == name, (item.id, row, column)
        assert 0.01 < ((mask > 0) & (mask < 255)).mean() < 0.8
