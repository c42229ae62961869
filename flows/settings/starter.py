"""A commented configuration for a folder of photographs, with the defaults that suit their number."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dcn.datasets import FolderDataset
from flows.errors import InvalidSettingsError

# Largest number of photographs, and the training for so many: iterations, batch size, iterations between two
# checks. docs/how-it-works/training.md measured the first; the last has the defaults of the settings.
_TRAININGS = ((200, 300, 8, 20), (2000, 600, 8, 20), (None, 2500, 32, 50))
# Names that folders of masks and files of class names have, inside of the folder or beside it.
_MASK_FOLDERS = ("masks", "mask", "labels", "annotations", "ground_truth", "SegmentationClass")
_CLASS_FILE = "classes.txt"
# Features and results of one photograph with the backbone focus-s14.
_BYTES = 700_000

_TEMPLATE = """\
# {found}
# Save this as mine.yaml, then: dcn run mine.yaml
# `dcn settings` prints all settings. --set section.name=value changes one for a single run.
dataset:
  name: folder
  root: {root}  # its subfolders are searched as well
{masks}
backbone:
  name: focus-s14  # is installed as a package; dino-s8, the paper's, is downloaded at the first run
train:
  num_prototypes: 5  # the largest number of regions of a photograph
  expected_affinity: 0.15  # 0.05 gives fewer regions, 0.3 gives more
  iterations: {iterations}  # more photographs need more
  batch_size: {batch_size}
  check_every: {check_every}
  patience: 3  # training ends earlier if the last three checks brought nothing
segment:
  refine: true  # the borders of regions follow the edges of the photograph
  smallest_part: 0.0  # 0.01 removes separate parts of regions that are smaller than 1 % of the photograph
evaluate:
  {clusters}
report:
  num_photographs: 20000  # at most, on the page
workspace: workspace  # folder of the results, about {size} in the end
"""
_WITHOUT_MASKS = """\
  # Masks are not needed. With masks, the results are compared with them: the mask of a/b.jpg is a/b.png.
  # masks: /path/to/masks
  # classes: /path/to/classes.txt  # one class name per line, the background first"""
_WITH_MASKS = """\
  masks: {masks}  # the mask of a/b.jpg is a/b.png
  classes: {classes}  # {advice}"""


@dataclass(frozen=True)
class _Folder:
    """What is in a folder: its photographs, and the masks of some of them, if there are masks.

    Attributes:
        root: folder of the photographs.
        photographs: their number.
        masks: folder of the masks; None without masks.
        masked: number of photographs that have a mask.

    """

    root: Path
    photographs: int
    masks: Path | None = None
    masked: int = 0


def starting_config(folder: Path) -> str:
    """Write a configuration for a folder of photographs, in YAML with comments.

    Args:
        folder: folder of the photographs, perhaps with masks in ``masks`` and class names in ``classes.txt``,
            inside of it or beside it.

    Raises:
        InvalidDatasetError: there is no such folder, or no image in it.
        InvalidSettingsError: YAML cannot hold the name of the folder.

    """
    found = _look_at(folder.absolute())
    count = f"{found.photographs} photograph{'s' * (found.photographs != 1)} in this folder"
    masks, clusters = _WITHOUT_MASKS, "num_clusters: 10  # number of classes that are looked for"
    if found.masks is not None:
        count = f"{count}, {found.masked} of them with a mask"
        classes = _class_file(found)
        advice = "one class name per line, the background first"
        masks = _WITH_MASKS.format(
            masks=_quoted(found.masks),
            classes=_quoted(classes),
            advice=advice if classes.is_file() else f"write this file: {advice}",
        )
        clusters = "num_clusters: null  # number of classes that are looked for: as many as there are names"
    limits = (row for row in _TRAININGS if row[0] is None or found.photographs <= row[0])
    _, iterations, batch_size, check_every = next(limits)
    return _TEMPLATE.format(
        found=count,
        root=_quoted(found.root),
        masks=masks,
        iterations=iterations,
        batch_size=batch_size,
        check_every=check_every,
        clusters=clusters,
        size=f"{max(1, found.photographs * _BYTES / 1e6):,.0f} MB",
    )


def _look_at(folder: Path) -> _Folder:
    """Find the photographs and their masks. Photographs may be in a subfolder beside that of the masks."""
    photographs = _stems(folder)
    masks = next((found for found in _beside(folder, _MASK_FOLDERS) if found.is_dir()), None)
    if masks is None:
        return _Folder(folder, len(photographs))
    masked = {path.relative_to(masks).with_suffix("").as_posix() for path in masks.rglob("*.*")}
    roots = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path != masks)]
    for root in roots:
        inside = f"{masks.relative_to(root).as_posix()}/" if masks.is_relative_to(root) else "\0"
        prefix = "" if root == folder else f"{root.name}/"
        of_root = [
            stem.removeprefix(prefix)
            for stem in photographs
            if stem.startswith(prefix) and not stem.startswith(inside)
        ]
        count = sum(stem in masked for stem in of_root)
        if 2 * count > len(of_root):
            return _Folder(root, len(of_root), masks, count)
    return _Folder(folder, len(photographs))


def _stems(folder: Path) -> list[str]:
    """Paths of the photographs below a folder, without suffix."""
    return [item.image.removesuffix(Path(item.image).suffix) for item in FolderDataset(folder).items()]


def _beside(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Paths with some names in a folder, then beside it."""
    for parent in (folder, folder.parent):
        yield from (parent / name for name in names)


def _class_file(found: _Folder) -> Path:
    assert found.masks is not None
    candidates = [found.masks.parent / _CLASS_FILE, found.masks / _CLASS_FILE, found.root / _CLASS_FILE]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _quoted(path: Path) -> str:
    """A path as YAML, of which JSON is a part."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidSettingsError(
            f"{os.fspath(path)!r} is not UTF-8, and a configuration cannot hold such a name; "
            f"rename the folder"
        ) from error
    return json.dumps(str(path), ensure_ascii=False)
