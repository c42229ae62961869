"""A folder lists photographs of all known endings, and says which files it skips."""

from pathlib import Path

import pytest

from dcn.datasets import FolderDataset, SampleDataset


def put(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_files_that_are_no_photographs_are_listed_as_skipped(tmp_path: Path) -> None:
    root = put(tmp_path, "a.jpg", "a.xmp", "b/c.HEIC", "b/notes.TXT", "b/README", "film.mov", "b/.hidden")
    dataset = FolderDataset(root)
    assert [item.image for item in dataset.items()] == ["a.jpg", "b/c.HEIC"]
    assert sorted(dataset.skipped()) == ["a.xmp", "b/.hidden", "b/README", "b/notes.TXT", "film.mov"]


def test_what_operating_systems_leave_is_neither_a_photograph_nor_skipped(tmp_path: Path) -> None:
    root = put(tmp_path, "a.jpg", "._a.jpg", ".DS_Store", "b/Thumbs.db", "b/._notes.txt", "b/desktop.ini")
    dataset = FolderDataset(root)
    assert [item.image for item in dataset.items()] == ["a.jpg"]
    assert list(dataset.skipped()) == []


@pytest.mark.parametrize("suffix", ["nef", "CR2", "arw", "DNG", "heic", "HEIF", "jxl"])
def test_photographs_of_cameras_are_listed_so_that_they_are_read_or_refused(
    tmp_path: Path, suffix: str
) -> None:
    dataset = FolderDataset(put(tmp_path, f"a.{suffix}"))
    assert [item.image for item in dataset.items()] == [f"a.{suffix}"]
    assert list(dataset.skipped()) == []


def test_masks_and_class_names_are_not_skipped(tmp_path: Path) -> None:
    root = put(tmp_path, "a.jpg", "masks/a.png", "masks/notes.txt", "more.txt")
    (root / "classes.txt").write_text("ground\nred\n")
    dataset = FolderDataset(root, root / "masks", root / "classes.txt")
    assert list(dataset.skipped()) == ["more.txt"]


def test_a_data_set_that_names_its_photographs_skips_nothing() -> None:
    assert list(SampleDataset().skipped()) == []
