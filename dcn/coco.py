"""Label maps as COCO JSON, whose masks are compressed by run lengths (RLE, as pycocotools does it).

Every annotation is one label of one photograph. The format is that of the COCO challenges, object detection
(https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths

# Regions have no classes, so all of them have this one category.
REGIONS: Mapping[int, str] = {1: "region"}


def coco_image(number: int, file_name: str, height: int, width: int) -> dict[str, Any]:
    """Describe a photograph as COCO does.

    Args:
        number: id of the photograph in the file, from 1.
        file_name: file of the photograph, relative to the folder of the data set, with ``/``.
        height: height in pixels.
        width: width in pixels.

    """
    return {"id": number, "file_name": file_name, "height": height, "width": width}


def coco_annotations(
    labels: npt.NDArray[np.uint8], image: int, categories: Sequence[int] | npt.NDArray[np.integer]
) -> list[dict[str, Any]]:
    """Describe every label that occurs in a label map as an annotation, without its id.

    Args:
        labels: label map ``[H, W]``.
        image: id of the photograph.
        categories: category of each label; a label of category 0 has no annotation. For a map of classes
            these are ``range(C)``, for a map of regions ones.

    Returns:
        For each label, the smallest first: ``image_id``, ``category_id``, ``segmentation`` (compressed RLE),
        ``area`` in pixels, ``bbox`` (left, top, width, height in pixels) and ``iscrowd``.

    """
    found = []
    for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=1)).tolist():
        if not categories[label]:
            continue
        encoded = run_lengths.encode(np.asfortranarray(labels == label, dtype=np.uint8))
        found.append(
            {
                "image_id": image,
                "category_id": int(categories[label]),
                "segmentation": {"size": list(labels.shape), "counts": encoded["counts"].decode("ascii")},
                "area": int(run_lengths.area(encoded)),
                "bbox": run_lengths.toBbox(encoded).tolist(),
                "iscrowd": 0,
            }
        )
    return found


def class_categories(names: Sequence[str]) -> dict[int, str]:
    """Number the classes ``[C]`` as categories. The background, class 0, is none."""
    return dict(enumerate(names[1:], start=1))


def coco_document(
    images: Iterable[dict[str, Any]], annotations: Iterable[dict[str, Any]], categories: Mapping[int, str]
) -> dict[str, Any]:
    """Collect a COCO document. The annotations get ids from 1.

    Example:
        >>> labels = np.array([[0, 0, 2]], dtype=np.uint8)
        >>> document = coco_document(
        ...     [coco_image(1, "a.jpg", 1, 3)],
        ...     coco_annotations(labels, image=1, categories=range(3)),
        ...     class_categories(("background", "cat", "tree")),
        ... )
        >>> document["annotations"][0]["category_id"], document["annotations"][0]["bbox"]
        (2, [2.0, 0.0, 1.0, 1.0])

    """
    return {
        "images": list(images),
        "annotations": list(_numbered(annotations)),
        "categories": _categories(categories),
    }


def coco_json(
    images: Iterable[dict[str, Any]], annotations: Iterable[dict[str, Any]], categories: Mapping[int, str]
) -> Iterator[str]:
    """Yield the text of :func:`coco_document` piece by piece, so that memory never holds all annotations."""
    yield '{"categories": ' + json.dumps(_categories(categories))
    for name, entries in (("images", images), ("annotations", _numbered(annotations))):
        yield f',\n"{name}": ['
        for number, entry in enumerate(entries):
            yield (",\n" if number else "\n") + json.dumps(entry, allow_nan=False)
        yield "]"
    yield "}\n"


def _numbered(annotations: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return ({"id": number, **one} for number, one in enumerate(annotations, start=1))


def _categories(categories: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in categories.items()]
