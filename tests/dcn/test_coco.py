"""COCO documents, read back by pycocotools and compared with plain NumPy."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools.coco import COCO

from dcn.coco import REGIONS, class_categories, coco_annotations, coco_document, coco_image, open_coco_writer

NAMES = ("background", "cat", "tree")
LABELS = np.array([[0, 1, 1, 0], [2, 1, 0, 2], [2, 2, 0, 0]], dtype=np.uint8)


def opened(document: object, folder: Path) -> COCO:
    path = folder / "coco.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return COCO(path)


def test_annotations_are_those_computed_by_hand() -> None:
    cat, tree = coco_annotations(LABELS, image=7, categories=range(3))
    assert cat["image_id"] == tree["image_id"] == 7
    assert (cat["category_id"], tree["category_id"]) == (1, 2)
    assert (cat["area"], tree["area"]) == (3, 4)
    assert cat["bbox"] == [1, 0, 2, 2]  # left, top, width, height
    assert tree["bbox"] == [0, 1, 4, 2]
    assert cat["segmentation"]["size"] == [3, 4]


@settings(max_examples=25)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)))
def test_masks_read_by_pycocotools_are_the_labels(
    tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray
) -> None:
    names = class_categories(("background", "a", "b", "c", "d"))
    annotations = coco_annotations(labels, 1, range(5))
    document = coco_document([coco_image(1, "x.jpg", *labels.shape)], annotations, names)
    coco = opened(document, tmp_path_factory.getbasetemp())
    painted = np.zeros(labels.shape, dtype=np.uint8)
    for number in coco.getAnnIds():
        (annotation,) = coco.loadAnns(number)
        mask = coco.annToMask(annotation).astype(bool)
        assert annotation["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["bbox"] == box
        painted[mask] = annotation["category_id"]
    np.testing.assert_array_equal(painted, labels)


def test_all_regions_have_one_category_and_the_largest_label_is_255() -> None:
    labels = np.array([[0, 255]], dtype=np.uint8)
    found = coco_annotations(labels, 1, [1] * 256)
    assert [one["category_id"] for one in found] == [1, 1]
    assert coco_document([], found, REGIONS)["categories"] == [{"id": 1, "name": "region"}]


def test_the_writer_writes_what_the_document_holds(tmp_path: Path) -> None:
    files = ["a.jpg", 'b/"quoted" fête.jpg', "empty.jpg", "\udc80.jpg"]
    maps = [LABELS, LABELS.T, np.zeros((2, 2), dtype=np.uint8), LABELS]
    text = io.StringIO()
    with open_coco_writer(text, class_categories(NAMES)) as writer:
        for file, labels in zip(files, maps, strict=True):
            writer.add(file, labels, range(3))
    images = [coco_image(i, file, *maps[i - 1].shape) for i, file in enumerate(files, start=1)]
    annotations = [one for i, labels in enumerate(maps, 1) for one in coco_annotations(labels, i, range(3))]
    expected = coco_document(images, annotations, class_categories(NAMES))
    assert json.loads(text.getvalue()) == expected
    coco = opened(text.getvalue(), tmp_path)
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == files
    assert len(coco.getAnnIds(imgIds=[3])) == 0
    assert sorted(coco.getAnnIds()) == list(range(1, 7))


def test_a_document_without_photographs_is_json() -> None:
    text = io.StringIO()
    with open_coco_writer(text, REGIONS):
        pass
    assert json.loads(text.getvalue()) == coco_document([], [], REGIONS)
