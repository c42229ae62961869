"""The photographs of the page as small pictures, and the regions that the galleries show."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.figures.retrieval import RegionView, region_crop
from flows import progress
from flows.inputs.image_index import IndexedImage
from flows.inputs.parallel import in_threads
from flows.report.gallery import ClassGallery
from flows.report.page import jpeg_uri
from flows.report.picture_files import PictureFiles
from flows.report.pictures import ResultMaps, ResultReader, jpeg
from flows.stage import Warn

# Longest side of a picture in pixels. Many pictures are smaller, so that those of ten thousand photographs
# take some hundred megabytes.
_FEW, _LARGE_SIDE, _SMALL_SIDE = 300, 640, 384
_CROP_SIDE = 128


@dataclass
class DrawnPhotographs:
    """What the page says of its photographs.

    Attributes:
        entries: name, size and regions of each photograph, in the order of their pictures.
        refused: file and reason of each photograph that could not be read any more.
        crops: data URI of the picture of a region, by row of its photograph and number of the region.

    """

    entries: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    crops: dict[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Drawn:
    """One photograph: its entry, its picture, pictures of its regions by number, or what is wrong with it."""

    entry: dict[str, Any] = field(default_factory=dict)
    picture: dict[str, str | None] = field(default_factory=dict)
    crops: dict[int, str] = field(default_factory=dict)
    problem: str = ""


def draw_photographs(
    reader: ResultReader,
    most: int,
    galleries: Mapping[int, ClassGallery],
    files: PictureFiles,
    warn: Warn,
    stage: str,
) -> DrawnPhotographs:
    """Draw the photographs of the page, in threads, and hand each picture over to ``files``.

    Args:
        reader: reader of the run.
        most: largest number of photographs in the list of the page.
        galleries: their regions are cut out, also of photographs that are not in the list.
        files: takes the pictures.
        warn: takes the reason why a photograph is not shown.
        stage: name of the stage, for its progress.

    """
    wanted: dict[int, set[int]] = {}
    for gallery in galleries.values():
        for placed in (*gallery.typical, *gallery.least):
            wanted.setdefault(placed.image, set()).add(placed.region)
    listed = reader.segmented_first_evaluated(most)
    rows = {image.row for image in listed}
    others = [reader.index.image(row) for row in sorted(wanted.keys() - rows)]
    side = _LARGE_SIDE if len(listed) <= _FEW else _SMALL_SIDE
    images = [*listed, *others]
    progress.start(stage, len(images))
    drawn = DrawnPhotographs()
    for image, one in zip(images, in_threads(partial(_draw, reader, side, wanted), images), strict=True):
        progress.advance(stage, 1)
        if one.problem:
            warn(f"{image.item.image} is not shown: {one.problem}")
            drawn.refused.append({"file": image.item.image, "reason": one.problem})
            continue
        drawn.crops |= {(image.row, region): crop for region, crop in one.crops.items()}
        if image.row in rows:
            drawn.entries.append(one.entry)
            files.add(one.picture)
    return drawn


def _draw(reader: ResultReader, side: int, wanted: Mapping[int, set[int]], image: IndexedImage) -> _Drawn:
    try:
        maps = reader.maps(image, side)
        crops = {
            region: jpeg_uri(jpeg(region_crop(region_view(reader, image, maps, region)), _CROP_SIDE))
            for region in sorted(wanted.get(image.row, ()))
        }
    except (InvalidPhotographError, InvalidMaskError) as error:
        return _Drawn(problem=str(error))
    height, width = maps.regions.shape
    entry = {
        "row": image.row,
        "id": image.item.id,
        "width": width,
        "height": height,
        "regions": list(_regions(reader, image)),
    }
    picture = {
        "photograph": base64.b64encode(jpeg(maps.photograph, side)).decode(),
        "regions": _packed(maps.regions),
        "truth": None if maps.truth is None else _packed(maps.truth),
    }
    return _Drawn(entry, picture, crops)


def _regions(reader: ResultReader, image: IndexedImage) -> Iterator[tuple[int, int, int]]:
    """Number, class and foreground of every region of a photograph; the class -1 means that it has none."""
    classes, foreground = reader.classes(image), reader.foreground(image)
    for region in np.flatnonzero(reader.areas(image)).tolist():
        yield region, -1 if classes is None else int(classes[region]), int(foreground[region])


def region_view(
    reader: ResultReader, image: IndexedImage, maps: ResultMaps, region: int, class_name: str | None = None
) -> RegionView:
    """Show a region in a small picture of its photograph; in the photograph if it is too small for that."""
    mask: npt.NDArray[np.bool_] = maps.regions == region
    if not mask.any():
        maps = reader.maps(image)
        mask = maps.regions == region
    return RegionView(maps.photograph, mask, class_name)


def _packed(labels: npt.NDArray[np.uint8]) -> str:
    """Encode labels ``[H, W]`` for the script of the page: base64 of zlib, a byte for each pixel."""
    return base64.b64encode(zlib.compress(labels.tobytes())).decode()
