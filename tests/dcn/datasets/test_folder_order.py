"""A folder yields its items sorted by path, although it never holds all paths in memory."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.datasets import FolderDataset

# Characters before, at and after the slash, and names that are prefixes of each other.
NAMES = st.text(alphabet="ab-. ", min_size=1, max_size=3).filter(lambda name: name.strip(".") != "")
PATHS = st.lists(
    st.tuples(st.lists(NAMES, max_size=3), NAMES, st.sampled_from([".jpg", ".png", ".jpg.png", ".txt"])),
    min_size=1,
    max_size=25,
)


@given(PATHS)
@settings(max_examples=60)
def test_items_are_sorted_by_path_and_ids_are_unique(
    tmp_path_factory: pytest.TempPathFactory, paths: list[tuple[list[str], str, str]]
) -> None:
    root = tmp_path_factory.mktemp("photos")
    for folders, stem, suffix in [*paths, ([], "one", ".png")]:
        path = root.joinpath(*folders, stem + suffix)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError:  # a file and a folder have the same name
            continue
    walked = [Path(folder, file).relative_to(root) for folder, _, files in os.walk(root) for file in files]
    expected = sorted(path.as_posix() for path in walked if path.suffix.lower() in {".jpg", ".png"})
    items = list(FolderDataset(root).items())
    assert [item.image for item in items] == expected
    assert len({item.id for item in items}) == len(items)
    # An id is the path without its suffix, unless that would be ambiguous.
    stems = Counter(path.removesuffix(Path(path).suffix) for path in expected)
    for item in items:
        stem = item.image.removesuffix(Path(item.image).suffix)
        if stem.rpartition("/")[2].strip("."):
            assert item.id == (stem if stems[stem] == 1 and stem not in expected else item.image)
