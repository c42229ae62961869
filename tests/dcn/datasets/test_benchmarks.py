"""Benchmarks on tiny data sets in the files and folders of their authors, and their tables of classes."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dcn.datasets import (
    ADE20KDataset,
    ADE20KOptions,
    CamVidOptions,
    Cityscapes27Dataset,
    Cityscapes27Options,
    CocoStuff27Dataset,
    CocoStuff27Options,
    Dataset,
    DatasetOptions,
    Item,
    Potsdam3Dataset,
    Potsdam3Options,
)
from dcn.datasets.benchmark import BenchmarkDataset
from dcn.errors import InvalidDatasetError, InvalidMaskError, InvalidPhotographError

HEIGHT, WIDTH = 6, 8
IGNORED = 255
# Coarse class of the labels 1 to 182 of COCO-Stuff, as PiCIE and STEGO number them, from 0.
COARSE = [int(number) for number in ["9", "11", "11", "11", "11", "11", "11", "11", "11", "8", "8", "8", "8", "8", "8", "7", "7", "7", "7", "7", "7", "7", "7", "7", "7", "6", "6", "6", "6", "6", "6", "6", "6", "10", "10", "10", "10", "10", "10", "10", "10", "10", "10", "5", "5", "5", "5", "5", "5", "5", "5", "2", "2", "2", "2", "2", "2", "2", "2", "2", "2", "3", "3", "3", "3", "3", "3", "3", "3", "3", "3", "0", "0", "0", "0", "0", "0", "1", "1", "1", "1", "1", "1", "4", "4", "4", "4", "4", "4", "4", "4", "17", "17", "22", "20", "20", "22", "15", "25", "16", "13", "12", "12", "17", "17", "23", "15", "15", "17", "15", "21", "15", "25", "13", "13", "13", "13", "13", "22", "26", "14", "14", "15", "22", "21", "21", "24", "20", "22", "15", "17", "16", "15", "22", "24", "21", "17", "25", "16", "21", "17", "22", "16", "21", "21", "25", "21", "26", "21", "24", "20", "17", "14", "21", "26", "15", "23", "20", "21", "24", "15", "24", "22", "25", "15", "20", "17", "17", "22", "14", "18", "18", "18", "18", "18", "18", "18", "26", "26", "19", "19", "24"]]  # fmt: skip
COARSE_NAMES = [
    "electronic",
    "appliance",
    "food",
    "furniture",
    "indoor",
    "kitchen",
    "accessory",
    "animal",
    "outdoor",
    "person",
    "sports",
    "vehicle",
    "ceiling",
    "floor",
    "food",
    "furniture",
    "rawmaterial",
    "textile",
    "wall",
    "window",
    "building",
    "ground",
    "plant",
    "sky",
    "solid",
    "structural",
    "water",
]
# Synonyms as objectInfo150.txt separates them; the name of two classes alone would be the same.
SYNONYMS = {
    1: "wall",
    2: "building, edifice",
    15: "door;double door",
    59: "screen door, screen",
    131: "screen, crt",
}
Layout = Callable[[Path], DatasetOptions]


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.convert("P")
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        image.putdata(pixels.ravel().tolist())
    image.save(path)


def photograph(path: Path) -> None:
    save(path, np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8))


def mask_of(*labels: int) -> np.ndarray:
    """A mask whose first pixels have these labels, and all others the last one."""
    mask = np.full((HEIGHT, WIDTH), labels[-1], dtype=np.uint8)
    mask.flat[: len(labels)] = labels
    return mask


def coco_stuff27(root: Path) -> DatasetOptions:
    for split, names in {"train2017": ["000000000009", "000000000025"], "val2017": ["000000000139"]}.items():
        for name in names:
            photograph(root / "images" / split / f"{name}.jpg")
            save(root / "annotations" / split / f"{name}.png", mask_of(0, 181, 91, 255), "P")
    return CocoStuff27Options(root=root)


def cityscapes27(root: Path) -> DatasetOptions:
    for place in (
        "train/aachen/aachen_000000_000019",
        "train/ulm/ulm_000001_000019",
        "val/lindau/lindau_000000_000019",
    ):
        photograph(root / "leftImg8bit" / f"{place}_leftImg8bit.png")
        save(root / "gtFine" / f"{place}_gtFine_labelIds.png", mask_of(0, 6, 7, 33, 3))
        save(root / "gtFine" / f"{place}_gtFine_color.png", mask_of(1))
    return Cityscapes27Options(root=root)


def ade20k(root: Path) -> DatasetOptions:
    folder = root / "ADEChallengeData2016"
    for place in ("training/ADE_train_00000001", "validation/ADE_val_00000001"):
        photograph(folder / "images" / f"{place}.jpg")
        save(folder / "annotations" / f"{place}.png", mask_of(0, 1, 150, 15))
    lines = ["Idx\tRatio\tTrain\tVal\tName"]
    lines += [
        f"{index} \t0.0{index}\t\t{index} \t{index}\t{SYNONYMS.get(index, f'thing {index}')}"
        for index in range(1, 151)
    ]
    (folder / "objectInfo150.txt").write_text("\n".join(lines) + "\n")
    return ADE20KOptions(root=root)


CAMVID = {
    "train": ["0001TP_006690", "0001TP_008520", "0006R0_f00930", "0016E5_07957", "0016E5_07960", "0016E5_08161"],
    "val": ["0016E5_07959", "0016E5_08159"],
    "test": ["0001TP_008550", "0001TP_010380", "Seq05VD_f00000"],
}  # fmt: skip


def camvid(root: Path) -> DatasetOptions:
    colors = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colors[0, :4] = (128, 128, 128), (192, 192, 0), (0, 0, 0), (1, 2, 3)  # sky, tree, void, no label at all
    colors[1:] = 64, 128, 64  # an animal, which counts as a pedestrian
    for name in (name for names in CAMVID.values() for name in names):
        photograph(root / "701_StillsRaw_full" / f"{name}.png")
        save(root / "LabeledApproved_full" / f"{name}_L.png", colors)
    return CamVidOptions(root=root)


def potsdam3(root: Path) -> DatasetOptions:
    for folder in ("imgs", "gt"):
        (root / folder).mkdir(parents=True)
    for split, names in {
        "labelled_train": ["7", "12"],
        "labelled_test": ["3"],
        "unlabelled_train": ["5"],
    }.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            crop = np.random.default_rng(int(name)).integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
            savemat(root / "imgs" / f"{name}.mat", {"img": crop})
            if split != "unlabelled_train":
                savemat(root / "gt" / f"{name}.mat", {"gt": mask_of(0, 1, 2, 3, 4, 5).astype(np.int32)})
    return Potsdam3Options(root=root)


LAYOUTS: dict[str, Layout] = {
    "coco_stuff27": coco_stuff27,
    "cityscapes27": cityscapes27,
    "ade20k": ade20k,
    "camvid": camvid,
    "potsdam3": potsdam3,
}
# Ids of the photographs of the split to train on and of the evaluated one, and the classes of a mask's pixels.
EXPECTED: dict[str, tuple[list[str], list[str], list[str | int]]] = {
    "coco_stuff27": (
        ["train2017/000000000009", "train2017/000000000025"],
        ["val2017/000000000139"],
        ["person-things", "solid-stuff", "textile-stuff", IGNORED],
    ),
    "cityscapes27": (
        ["train/aachen/aachen_000000_000019", "train/ulm/ulm_000001_000019"],
        ["val/lindau/lindau_000000_000019"],
        [IGNORED, IGNORED, "road", "bicycle", IGNORED],
    ),
    "ade20k": (
        ["training/ADE_train_00000001"],
        ["validation/ADE_val_00000001"],
        [IGNORED, "wall", "thing 150", "door"],
    ),
    "camvid": (CAMVID["train"], CAMVID["test"], ["sky", "tree", IGNORED, IGNORED]),
    "potsdam3": (
        ["12", "7"],
        ["3"],
        [
            "roads and cars", "buildings and clutter", "vegetation and trees", "vegetation and trees",
            "roads and cars", "buildings and clutter",
        ],
    ),
}  # fmt: skip


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, DatasetOptions]:
    return request.param, LAYOUTS[request.param](tmp_path / "data")


def read_items(dataset: Dataset) -> dict[str, Item]:
    return {item.id: item for item in dataset.items()}


def test_the_layout_of_the_authors_is_read(layout: tuple[str, DatasetOptions]) -> None:
    name, options = layout
    train, evaluated, pixels = EXPECTED[name]
    dataset = options.open()
    items = read_items(dataset)
    assert options.has_classes
    assert sorted(items) == list(items) == sorted(train + evaluated)
    assert [item.id for item in items.values() if dataset.train_split in item.splits] == sorted(train)
    assert [item.id for item in items.values() if dataset.evaluate_split in item.splits] == sorted(evaluated)
    for item in items.values():
        found = dataset.decode_photograph((dataset.root / item.image).read_bytes())
        assert found.shape == (HEIGHT, WIDTH, 3)
        assert found.dtype == np.uint8
        mask = dataset.read_mask(item, HEIGHT, WIDTH)
        assert mask is not None
        named = [label if label == IGNORED else dataset.class_names[label] for label in mask.ravel().tolist()]
        assert named[: len(pixels)] == pixels


def test_no_pixel_is_background(layout: tuple[str, DatasetOptions]) -> None:
    """So a region without a class is never right."""
    dataset = layout[1].open()
    assert dataset.class_names[0] == "background"
    assert dataset.mask_values is not None
    assert set(dataset.mask_values.meaning.values()) == set(range(1, len(dataset.class_names)))


@pytest.mark.parametrize(
    ("name", "part", "source"),
    [
        ("coco_stuff27", "images/val2017", "unpack val2017.zip of cocodataset.org in .*images"),
        ("coco_stuff27", "annotations/train2017", "unpack stuffthingmaps_trainval2017.zip of github.com/nightrome"),
        ("cityscapes27", "leftImg8bit", "unpack leftImg8bit_trainvaltest.zip of cityscapes-dataset.com"),
        ("cityscapes27", "gtFine/val", "unpack gtFine_trainvaltest.zip of cityscapes-dataset.com"),
        ("ade20k", "ADEChallengeData2016/objectInfo150.txt", "unpack ADEChallengeData2016.zip of sceneparsing"),
        ("ade20k", "ADEChallengeData2016/annotations/validation", "unpack ADEChallengeData2016.zip"),
        ("ade20k", "ADEChallengeData2016/images/training", "unpack ADEChallengeData2016.zip"),
        ("camvid", "701_StillsRaw_full", "unpack 701_StillsRaw_full.zip of web4.cs.ucl.ac.uk"),
        ("camvid", "LabeledApproved_full", "unpack LabeledApproved_full.zip of web4.cs.ucl.ac.uk"),
        ("potsdam3", "gt", "make it of the Potsdam tiles of ISPRS with potsdam_prepare.py"),
        ("potsdam3", "labelled_test.txt", "make it of the Potsdam tiles of ISPRS with potsdam_prepare.py"),
    ],
)  # fmt: skip
def test_a_layout_that_is_half_there_says_what_is_missing_and_where_it_is_got(
    tmp_path: Path, name: str, part: str, source: str
) -> None:
    options = LAYOUTS[name](tmp_path / "data")
    missing = tmp_path / "data" / part
    shutil.move(missing, tmp_path / "elsewhere")
    with pytest.raises(InvalidDatasetError, match=f"{re.escape(str(missing))}.*; {source}") as raised:
        list(options.open().items())
    assert raised.value.parameter == "root"


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match="there is no folder .*gone"):
        Cityscapes27Options(root=tmp_path / "gone").open()


def test_a_missing_mask_is_named_and_its_photograph_stays(tmp_path: Path) -> None:
    dataset = cityscapes27(tmp_path).open()
    item = read_items(dataset)["val/lindau/lindau_000000_000019"]
    (tmp_path / "gtFine" / f"{item.id}_gtFine_labelIds.png").unlink()
    assert read_items(dataset)[item.id] == item
    with pytest.raises(InvalidMaskError, match="No such file"):
        dataset.read_mask(item, HEIGHT, WIDTH)


def test_the_splits_may_be_the_same(tmp_path: Path) -> None:
    root = cityscapes27(tmp_path).open().root
    assert [item.splits for item in Cityscapes27Dataset(root, "val", "val").items()] == [("val",)]


class TestCocoStuff27:
    """The hierarchy of labels, and the curated lists."""

    def test_every_label_has_the_class_of_the_usual_table(self) -> None:
        assert CocoStuff27Dataset.mask_values is not None
        assert dict(CocoStuff27Dataset.mask_values.meaning) == {
            value: coarse + 1 for value, coarse in enumerate(COARSE)
        }
        names = [
            name.removesuffix("-things").removesuffix("-stuff") for name in CocoStuff27Dataset.class_names[1:]
        ]
        assert names == COARSE_NAMES
        assert [name.partition("-")[2] for name in CocoStuff27Dataset.class_names[1:]] == ["things"] * 12 + [
            "stuff"
        ] * 15

    @pytest.mark.parametrize(
        ("label", "coarse"),
        [  # ids of labels.txt by hand
            (1, "person-things"), (64, "furniture-things"), (72, "electronic-things"), (91, "indoor-things"),
            (95, "building-stuff"), (106, "sky-stuff"), (120, "water-stuff"), (122, "food-stuff"),
            (149, "ground-stuff"), (169, "plant-stuff"), (171, "wall-stuff"), (180, "window-stuff"),
        ],
    )  # fmt: skip
    def test_labels_of_the_official_list(self, tmp_path: Path, label: int, coarse: str) -> None:
        dataset = coco_stuff27(tmp_path).open()
        item = read_items(dataset)["val2017/000000000139"]
        save(tmp_path / str(item.mask), mask_of(label - 1), "P")
        mask = dataset.read_mask(item, HEIGHT, WIDTH)
        assert mask is not None
        assert {dataset.class_names[index] for index in np.unique(mask)} == {coarse}

    def test_a_curated_list_chooses_the_photographs_of_its_split(self, tmp_path: Path) -> None:
        dataset = coco_stuff27(tmp_path).open()
        for name, content in (
            ("Full_Stuff_Coarse", "000000000009\n"),
            ("Full_Stuff_Coarse_7", "000000000025\n\n000000000025\n"),
        ):
            path = tmp_path / "curated" / "train2017" / f"Coco164k{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        items = read_items(dataset)
        assert list(items) == ["train2017/000000000025", "val2017/000000000139"]
        assert items["train2017/000000000025"].splits == ("train2017",)
        path.unlink()
        assert list(read_items(dataset)) == ["train2017/000000000009", "val2017/000000000139"]

    def test_a_list_leads_to_no_file_outside_of_the_data_set(self, tmp_path: Path) -> None:
        dataset = coco_stuff27(tmp_path / "data").open()
        path = tmp_path / "data" / "curated" / "val2017" / "Coco164kFull_Stuff_Coarse_7.txt"
        path.parent.mkdir(parents=True)
        path.write_text("../../../secret\n")
        with pytest.raises(InvalidDatasetError, match="would lie outside its folder"):
            list(dataset.items())
        path.write_bytes(b"\x00\x80\xff" * 5)
        with pytest.raises(InvalidDatasetError, match=r"Coarse_7.txt cannot be read: .*; copy it again"):
            list(dataset.items())


def test_cityscapes_has_the_labels_of_its_authors_that_are_not_void(tmp_path: Path) -> None:
    """Names and ids by hand, from the table of labels of the authors."""
    assert Cityscapes27Dataset.mask_values is not None
    meaning = Cityscapes27Dataset.mask_values.meaning
    assert sorted(meaning) == list(range(7, 34))
    for label, name in {
        7: "road", 9: "parking", 10: "rail track", 14: "guard rail", 18: "polegroup", 20: "traffic sign",
        24: "person", 29: "caravan", 30: "trailer", 31: "train", 33: "bicycle",
    }.items():  # fmt: skip
        assert Cityscapes27Dataset.class_names[meaning[label]] == name


class TestADE20K:
    """The names of ``objectInfo150.txt``."""

    def test_a_class_has_the_first_of_its_synonyms(self, tmp_path: Path) -> None:
        names = ade20k(tmp_path).open().class_names
        assert len(names) == 151
        assert [names[index] for index in (1, 2, 15, 59, 131, 150)] == [
            "wall", "building", "door", "screen door", "screen", "thing 150",
        ]  # fmt: skip

    def test_newer_files_also_say_which_classes_are_stuff(self, tmp_path: Path) -> None:
        options = ade20k(tmp_path)
        path = tmp_path / "ADEChallengeData2016" / "objectInfo150.txt"
        path.write_text(
            "".join(f"{index}\t0.1\t10\t5\t{index % 2}\tthing of {index}\n" for index in range(1, 151))
        )
        assert options.open().class_names[3] == "thing of 3"

    def test_equal_first_synonyms_keep_the_others(self, tmp_path: Path) -> None:
        options = ade20k(tmp_path)
        path = tmp_path / "ADEChallengeData2016" / "objectInfo150.txt"
        path.write_text(path.read_text().replace("building, edifice", "wall, rampart"))
        assert options.open().class_names[1:3] == ("wall", "wall, rampart")

    @pytest.mark.parametrize(
        "content", ["", "Idx\tRatio\tTrain\tVal\tName\n", "1\t0.1\t2\t3\twall\n3\t0.1\t2\t3\tsky\n"]
    )
    def test_a_list_of_other_classes_is_refused(self, tmp_path: Path, content: str) -> None:
        ade20k(tmp_path)
        (tmp_path / "ADEChallengeData2016" / "objectInfo150.txt").write_text(content)
        with pytest.raises(
            InvalidDatasetError, match=r"objectInfo150.txt does not list the classes 1 to 150"
        ):
            ADE20KDataset(tmp_path)


def test_camvid_has_the_frames_of_the_usual_splits(tmp_path: Path) -> None:
    camvid(tmp_path)
    dataset = CamVidOptions(root=tmp_path, train_split="train", evaluate_split="val").open()
    assert isinstance(dataset, BenchmarkDataset)
    for split, names in CAMVID.items():
        assert sorted(dataset.names(split)) == sorted(names)


class TestPotsdam3:
    """Crops and masks in MAT files."""

    def test_a_crop_loses_its_infrared_channel(self, tmp_path: Path) -> None:
        dataset = potsdam3(tmp_path).open()
        crop = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 4))
        found = dataset.decode_photograph((tmp_path / "imgs" / "3.mat").read_bytes())
        np.testing.assert_array_equal(found, crop[..., :3])

    def test_unlabelled_crops_have_no_mask(self, tmp_path: Path) -> None:
        potsdam3(tmp_path)
        dataset = Potsdam3Dataset(tmp_path, "unlabelled_train", "labelled_test")
        assert {item.id: item.mask for item in dataset.items()} == {"3": "gt/3.mat", "5": None}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"other": np.ones(1)}, "it has no (img|gt) of the shape"),
            ({"img": np.ones((2, 3, 4)), "gt": np.ones((2, 3))}, "it has no (img|gt) of the shape"),
            ({"img": np.ones((2, 3), np.uint8), "gt": np.ones((2, 3, 1), np.uint8)}, "it has no (img|gt)"),
            (None, "it cannot be read as a MAT file"),
        ],
    )
    def test_other_content_is_refused(
        self, tmp_path: Path, content: dict[str, np.ndarray] | None, message: str
    ) -> None:
        dataset = potsdam3(tmp_path).open()
        file = tmp_path / "gt" / "3.mat"
        if content is None:
            file.write_bytes(b"not a MAT file" * 20)
        else:
            savemat(file, content)
        with pytest.raises(InvalidPhotographError, match=message):
            dataset.decode_photograph(file.read_bytes())
        with pytest.raises(InvalidMaskError, match=message):
            dataset.read_mask(read_items(dataset)["3"], HEIGHT, WIDTH)
