"""Few pictures are inside of the page, many are in files beside it."""

import json
from pathlib import Path

import pytest

from flows.report import picture_files
from flows.report.picture_files import PICTURES_PER_FILE, PictureFiles
from storage import Manifest, Workspace


def add(folder: Path, count: int) -> tuple[str | None, dict[str, str]]:
    """Add pictures of 1,000 bytes; returns what is inside of the page, and the files."""
    checkpoint = Workspace(str(folder)).checkpoint("report", "0" * 32)
    checkpoint.begin(Manifest("report", "0" * 32, {}, {}, rows=0, shard_rows=1))
    files = PictureFiles(checkpoint)
    for number in range(count):
        files.add({"photograph": f"{number:04d}" + "x" * 996, "truth": None})
    found = (
        sorted(Path(checkpoint.location, "files").glob("*"))
        if Path(checkpoint.location, "files").is_dir()
        else []
    )
    inside = files.finish()
    found = sorted(Path(checkpoint.location, "files").glob("*")) if inside is None else found
    return inside, {path.name: path.read_text() for path in found}


def numbers(pictures: list[dict[str, str]]) -> list[int]:
    return [int(picture["photograph"][:4]) for picture in pictures]


def test_few_pictures_are_inside_of_the_page(tmp_path: Path) -> None:
    inside, files = add(tmp_path, 30)
    assert inside is not None
    assert numbers(json.loads(inside)) == list(range(30))
    assert not files


def test_no_picture_is_a_list_of_none(tmp_path: Path) -> None:
    assert add(tmp_path, 0) == ("[]", {})


@pytest.mark.parametrize("count", [30, 2 * PICTURES_PER_FILE, 2 * PICTURES_PER_FILE + 1])
def test_many_pictures_are_in_files_of_so_many(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_files, "_MOST_BYTES_INSIDE", 25_000)
    inside, files = add(tmp_path, count)
    assert inside is None
    assert list(files) == [f"pictures-{number:05d}.js" for number in range(-(-count // PICTURES_PER_FILE))]
    for number, script in enumerate(files.values()):
        start = f"receivePictures({number}, "
        assert script.startswith(start)
        assert script.endswith(");\n")
        first = number * PICTURES_PER_FILE
        expected = list(range(first, min(first + PICTURES_PER_FILE, count)))
        assert numbers(json.loads(script.removeprefix(start).removesuffix(");\n"))) == expected


def test_memory_holds_no_more_than_fits_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_files, "_MOST_BYTES_INSIDE", 25_000)
    checkpoint = Workspace(str(tmp_path)).checkpoint("report", "0" * 32)
    checkpoint.begin(Manifest("report", "0" * 32, {}, {}, rows=0, shard_rows=1))
    files = PictureFiles(checkpoint)
    for _ in range(200):
        files.add({"photograph": "x" * 1000, "truth": None})
        assert len(files._waiting) <= PICTURES_PER_FILE
