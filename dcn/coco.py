"""Label maps as COCO JSON, whose masks are compressed by run lengths (RLE, as pycocotools does it).

Every annotation is one label of one photograph. The format is that of the COCO challenges, object detection
(https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths

# Regions have no classes, so all of them have this one category.
REGIONS: Mapping[int, str] = {1: "region"}


def class_categories(names: Sequence[str]) -> dict[int, str]:
    """Number the classes ``[C]`` as categories. The background, class 0, is none."""
    return dict(enumerate(names[1:], start=1))


def coco_image(number: int, file_name: str, height: int, width: int) -> dict[str, Any]:
    """Describe a photograph as COCO does.

    Args:
        number: id of the photograph in the document, from 1.
        file_name: file of the photograph, relative to the folder of the photographs, with ``/``.
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
    for label in np.unique(labels).tolist():
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


def coco_document(
    images: Iterable[dict[str, Any]], annotations: Iterable[dict[str, Any]], categories: Mapping[int, str]
) -> dict[str, Any]:
    """Make a COCO document. The annotations get ids from 1.

    Args:
        images: see :func:`coco_image`.
        annotations: see :func:`coco_annotations`.
        categories: name of each category: :data:`REGIONS` or :func:`class_categories`.

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
    numbered = [{"id": number, **one} for number, one in enumerate(annotations, start=1)]
    return {**_head(categories), "images": list(images), "annotations": numbered}


class CocoWriter:
    """Writes a COCO document photograph by photograph. Memory holds the annotations of one photograph.

    :func:`open_coco_writer` opens it.
    """

    def __init__(self, images: TextIO, annotations: TextIO) -> None:
        self._images, self._annotations = images, annotations
        self._num_images = self._num_annotations = 0

    def add(
        self,
        file_name: str,
        labels: npt.NDArray[np.uint8],
        categories: Sequence[int] | npt.NDArray[np.integer],
    ) -> None:
        """Add a photograph, which may be without annotations.

        Args:
            file_name: see :func:`coco_image`.
            labels: label map ``[H, W]``.
            categories: see :func:`coco_annotations`.

        """
        self._num_images += 1
        image = coco_image(self._num_images, file_name, *labels.shape)
        _write(self._images, image, self._num_images)
        for one in coco_annotations(labels, self._num_images, categories):
            self._num_annotations += 1
            _write(self._annotations, {"id": self._num_annotations, **one}, self._num_annotations)


@contextmanager
def open_coco_writer(file: TextIO, categories: Mapping[int, str]) -> Iterator[CocoWriter]:
    """Open a writer, and complete the document at the end of the context.

    Args:
        file: a text file that is open for writing.
        categories: name of each category: :data:`REGIONS` or :func:`class_categories`.

    """
    # Both lists grow with every photograph, and the file can hold one of them at its end.
    with tempfile.TemporaryFile("w+", encoding="ascii") as images:
        file.write(json.dumps(_head(categories))[:-1] + ',\n"annotations": [')
        yield CocoWriter(images, file)
        file.write('],\n"images": [')
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write("]}\n")


def _head(categories: Mapping[int, str]) -> dict[str, Any]:
    """Make what stands before images and annotations. Old versions of pycocotools need ``info``."""
    named = [{"id": number, "name": name} for number, name in categories.items()]
    return {"info": {}, "licenses": [], "categories": named}


def _write(file: TextIO, entry: dict[str, Any], number: int) -> None:
    file.write((",\n" if number > 1 else "\n") + json.dumps(entry))
