"""Folders whose masks hold 0 and 255, other grays or colors; lists and class names in the encodings of editors."""

import codecs
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from dcn.datasets import FolderDataset, FolderOptions
from dcn.errors import InvalidDatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One photograph of two pixels, its mask with the values 0 and 255, and two class names."""
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (2, 1)).save(tmp_path / "photos" / "a.jpg")
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "classes.txt").write_text("ground\ncat\n")
    return tmp_path


def mask_of(dataset: FolderDataset) -> list[list[int]]:
    found = dataset.read_mask(next(dataset.items()), 1, 2)
    assert found is not None
    rows: list[list[int]] = found.tolist()
    return rows


def options(folder: Path, **changes: object) -> FolderOptions:
    return FolderOptions.model_validate({"root": folder / "photos", "masks": folder / "masks", **changes})


def test_masks_of_0_and_255_for_two_classes_are_refused_with_the_setting_that_helps(folder: Path) -> None:
    dataset = options(folder, classes=folder / "classes.txt").open()
    assert mask_of(dataset) == [[0, 255]]
    with pytest.raises(InvalidDatasetError) as caught:
        dataset.check_labels({0, 255})
    assert str(caught.value) == (
        "the masks have only the values 0 and 255, and 255 is ignored, so no pixel is 'cat'; set mask_values to "
        "{0: ground, 255: cat}, or, if 255 is no class, to {0: ground, 255: ignore}"
    )
    assert caught.value.parameter == "mask_values"
    for labels in ({0}, {0, 1}, {0, 1, 255}, {1, 255}, set()):
        dataset.check_labels(labels)


@pytest.mark.parametrize(("named", "expected"), [({"0": "ground", "255": "cat"}, [[0, 1]]), ({"0": "cat", "255": "ground"}, [[1, 0]]), ({"0": "ground", "255": "ignore"}, [[0, 255]])])  # fmt: skip
def test_both_settings_of_that_message_work(
    folder: Path, named: dict[str, str], expected: list[list[int]]
) -> None:
    dataset = options(folder, classes=folder / "classes.txt", mask_values=named).open()
    assert mask_of(dataset) == expected
    dataset.check_labels({0, 255})


def test_more_classes_or_a_third_value_are_no_reason_to_complain(folder: Path) -> None:
    (folder / "classes.txt").write_text("ground\ncat\ndog\n")
    options(folder, classes=folder / "classes.txt").open().check_labels({0, 255})


def test_without_a_class_file_the_names_of_the_values_are_the_classes(folder: Path) -> None:
    for named in ({0: "background", 255: "cat"}, {255: "cat", 0: "background"}):
        dataset = options(folder, mask_values=named).open()
        assert dataset.class_names == ("background", "cat")
        assert mask_of(dataset) == [[0, 1]]
    inverted = options(folder, mask_values={0: "cat", 255: "background"}).open()
    assert inverted.class_names == ("background", "cat")
    assert mask_of(inverted) == [[1, 0]]
    several = options(
        folder, mask_values={9: "dog", 3: "cat", 0: "background", 4: "cat", 255: "ignore"}
    ).open()
    assert several.class_names == ("background", "cat", "dog")


def test_without_any_names_the_message_shows_the_values_of_the_masks(folder: Path) -> None:
    words = r"name per line, or name the classes of the values 0, 255 of the masks in mask_values, as in \{0: background, 255: NAME\}"
    with pytest.raises(InvalidDatasetError, match=words):
        options(folder).open()
    (folder / "masks" / "b.png").write_bytes(b"no image")
    with pytest.raises(InvalidDatasetError, match="give a text file with one name per line$"):
        options(folder).open()


def test_colors_are_named_as_red_green_and_blue(folder: Path) -> None:
    pixels = np.array([[[0, 0, 0], [255, 0, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "masks" / "a.png")
    for red in ("255 0 0", "255, 0, 0", "255,0,0"):
        assert mask_of(options(folder, mask_values={"0 0 0": "background", red: "cat"}).open()) == [[0, 1]]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"x": "cat"}, "'x' is no value of a mask"),
        ({"0": "background", "0 0 0": "cat"}, "write gray values or colors, not both"),
        ({}, "not both, and at least one"),
        ({"255": "cat", "0255": "dog"}, "'255' and '0255' are the same value; name its class once"),
        ({"0": "back\x1bground"}, "has a control character; remove it"),
        ({"0": 3}, "valid string"),
        ([0, 255], "valid dictionary"),
    ],
)
def test_values_that_nothing_can_mean_are_refused(folder: Path, named: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        options(folder, mask_values=named)


@pytest.mark.parametrize(
    ("named", "classes", "words"),
    [
        ({"0": "ground", "255": "dog"}, True, "names the class 'dog'; the classes are ground, cat, and ignore leaves"),
        ({"0": "ground", "255": "cat"}, False, "names the classes ground, cat; without a file of class names it needs"),
        ({"0": "background", "255": "ignore"}, False, "it needs background and 1 to 254 others"),
        ({str(i): f"c{i}" for i in range(300)} | {"999": "background"}, False, "it needs background and 1 to 254 others"),
    ],
)  # fmt: skip
def test_names_that_are_no_classes_are_refused(
    folder: Path, named: dict[str, str], classes: bool, words: str
) -> None:
    with pytest.raises(InvalidDatasetError, match=words):
        options(folder, mask_values=named, classes=folder / "classes.txt" if classes else None).open()


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + "Hintergründe\r\ncat\r\n".encode(),
        codecs.BOM_UTF16_LE + "Hintergründe\r\ncat\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Hintergründe\n\ncat".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "Hintergründe\ncat\n".encode("utf-32-le"),
        "Hintergründe\ncat\n".encode("utf-16-le"),
    ],
)
def test_class_names_are_read_in_the_encodings_of_editors(folder: Path, content: bytes) -> None:
    (folder / "classes.txt").write_bytes(content)
    assert FolderDataset(folder / "photos", classes=folder / "classes.txt").class_names == (
        "Hintergründe",
        "cat",
    )


def test_class_names_in_another_encoding_are_refused_with_the_line(folder: Path) -> None:
    (folder / "classes.txt").write_bytes("ground\nHintergründe\n".encode("latin-1"))
    with pytest.raises(
        InvalidDatasetError, match=r"line 2 is not UTF-8 \(byte 0xfc\); save the file as UTF-8"
    ):
        FolderDataset(folder / "photos", classes=folder / "classes.txt")


def test_class_names_from_a_device_or_twice_the_same_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidDatasetError, match="cannot be read: it is a device, not a file"):
        FolderDataset(folder / "photos", classes=Path("/dev/zero"))
    (folder / "classes.txt").write_text("ground\ncat\ncat\n")
    with pytest.raises(InvalidDatasetError, match="has the class name 'cat' twice; name each class once"):
        FolderDataset(folder / "photos", classes=folder / "classes.txt")
