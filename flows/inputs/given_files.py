"""Photographs outside of a data set, which a person names: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcn.datasets import FolderOptions
from flows.errors import FlowError
from flows.inputs.datasets import skipped_files
from flows.settings import Settings

# Folders of the results of photographs, inside of the folder of all results.
RESULT_FOLDERS = ("regions", "semantic", "overlays")


@dataclass(frozen=True)
class GivenFile:
    """A file that should be a photograph.

    Attributes:
        path: the file, which may not exist.
        name: name of its results, a relative path with ``/`` and without suffix: its stem, or its path below
            the folder that was given.

    """

    path: Path
    name: str


@dataclass(frozen=True)
class GivenPhotographs:
    """What a person named.

    Attributes:
        files: the files, each once, in the order in which they were named.
        folders: the folders that were searched for them.
        skipped: number of files in these folders that are no photographs, by ending.

    """

    files: tuple[GivenFile, ...]
    folders: tuple[Path, ...]
    skipped: dict[str, int]

    def check_output(self, output: Path) -> None:
        """Check that results will not stand among the photographs, where the next search would find them.

        Args:
            output: folder of the results.

        Raises:
            FlowError: they would.

        """
        place = _real(output)
        for folder in self.folders:
            if place.is_relative_to(_real(folder)):
                raise FlowError(
                    f"the results in {output} would be in the folder of the photographs {folder}, and the "
                    f"next search would find them; choose an --output outside of it"
                )
        taken = {place, *(place / name for name in RESULT_FOLDERS)}
        for file in self.files:
            if _real(file.path.parent) in taken:
                raise FlowError(
                    f"the results in {output} would be beside the photograph {file.path}, or replace it; "
                    f"choose another --output"
                )


def find_photographs(named: Sequence[str]) -> GivenPhotographs:
    """Find the photographs in files, folders and patterns.

    Args:
        named: paths of files and folders, whose subfolders are searched as well; or patterns with ``*``,
            ``?``, ``[...]`` and ``**``. A name that leads to nothing counts as a file, which cannot be read.

    Raises:
        InvalidDatasetError: there is no image in a folder.

    """
    files: dict[Path, GivenFile] = {}
    folders: list[Path] = []
    skipped: dict[str, int] = {}
    for path in (path for name in named for path in _matches(name)):
        if not path.is_dir():
            files.setdefault(path, GivenFile(path, path.stem))
            continue
        options = FolderOptions(root=path)
        folders.append(path)
        for item in options.open().items():
            file = path / item.image
            files.setdefault(file, GivenFile(file, item.id))
        for ending, count in skipped_files(Settings(dataset=options)).items():
            skipped[ending] = skipped.get(ending, 0) + count
    return GivenPhotographs(tuple(files.values()), tuple(folders), skipped)


def _matches(name: str) -> Iterator[Path]:
    """List the paths that a name or a pattern leads to; a file may have the name of a pattern."""
    if os.path.lexists(name) or not glob.has_magic(name):
        yield Path(name)
        return
    found = sorted(glob.glob(os.path.expanduser(name), recursive=True))  # noqa: PTH111, PTH207 - of any pattern
    yield from map(Path, found or [name])


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
