"""Photographs that a person names: files, folders and patterns."""

from pathlib import Path

import pytest
from PIL import Image

from dcn.errors import InvalidDatasetError
from flows.errors import FlowError
from flows.inputs.given_files import find_photographs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "sub/b.png", "sub/b.jpg", "[c].png", "notes.txt", "sub/x.xmp", ".DS_Store"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            Image.new("RGB", (4, 4)).save(path)
        else:
            path.write_text("x")
    return tmp_path / "photos"


def found(*named: object) -> list[tuple[str, str]]:
    files = find_photographs([str(name) for name in named]).files
    return [(file.path.name, file.name) for file in files]


def test_a_folder_gives_its_photographs_and_those_of_its_subfolders(folder: Path) -> None:
    given = find_photographs([str(folder)])
    assert [file.name for file in given.files] == ["[c]", "a", "sub/b.jpg", "sub/b.png"]
    assert all(file.path.is_file() for file in given.files)
    assert given.skipped == {"txt": 1, "xmp": 1}
    assert given.folders == (folder,)


def test_files_and_patterns_have_their_stems_and_each_file_counts_once(folder: Path) -> None:
    assert found(folder / "a.png", folder / "*.png") == [("a.png", "a"), ("[c].png", "[c]")]
    assert found(folder / "**" / "*.jpg") == [("b.jpg", "b")]
    assert found(folder / "[c].png") == [("[c].png", "[c]")]  # a file, whatever its name looks like
    assert found(folder / "[ab].png") == [("a.png", "a")]


def test_what_is_not_there_stays_a_file_that_is_refused_later(folder: Path) -> None:
    assert found(folder / "gone.png", folder / "gone*.png") == [("gone.png", "gone"), ("gone*.png", "gone*")]
    (folder / "empty").mkdir()
    with pytest.raises(InvalidDatasetError, match="there is no image in .*empty"):
        find_photographs([str(folder / "empty")])


@pytest.mark.parametrize("output", ["photos", "photos/out", "photos/sub"])
def test_results_never_stand_in_a_folder_of_photographs(folder: Path, output: str) -> None:
    with pytest.raises(FlowError, match="would be in the folder of the photographs .*photos"):
        find_photographs([str(folder)]).check_output(folder.parent / output)


@pytest.mark.parametrize(
    ("output", "file"), [("photos", "a.png"), ("link", "a.png"), ("photos", "regions/a.png")]
)
def test_results_never_stand_beside_a_photograph(folder: Path, output: str, file: str) -> None:
    (folder.parent / "link").symlink_to(folder)
    with pytest.raises(FlowError, match="would be beside the photograph .*, or replace it"):
        find_photographs([str(folder / file)]).check_output(folder.parent / output)


def test_results_may_stand_beside_the_folder_or_in_a_folder_of_their_own(folder: Path) -> None:
    find_photographs([str(folder)]).check_output(folder.parent / "predicted")
    find_photographs([str(folder / "a.png")]).check_output(folder / "predicted")
    find_photographs([str(folder / "sub" / "b.png")]).check_output(folder)
