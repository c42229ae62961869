"""``index`` ends with what was used, refused and skipped, also if it is reused."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.inputs.summaries import IndexSummary
from flows.settings import Settings
from tests.conftest import draw_scene


def settings_of(folder: Path, workspace: Path, masks: Path | None = None) -> Settings:
    dataset = {"name": "folder", "root": str(folder)}
    if masks is not None:
        (masks.parent / "classes.txt").write_text("ground\nred\nblue\n")
        dataset |= {"masks": str(masks), "classes": str(masks.parent / "classes.txt")}
    return Settings.model_validate({"dataset": dataset, "workspace": str(workspace)})


def index(settings: Settings) -> tuple[list[str], IndexSummary]:
    """Run the stage; returns what it said at its end, and its summary."""
    said: list[str] = []
    job = find_job(settings, "index")
    run_stage(job, "index", compute_shards, warn=lambda _: None, say=said.append)
    return [line for line in said if line.startswith("index used")], IndexSummary.read(job)


def photographs(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for seed in range(count):
        Image.fromarray(draw_scene(seed)[0]).save(folder / f"{seed}.png")
    return folder


def test_one_line_counts_used_refused_and_skipped_files_by_ending(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", 2)
    (folder / "broken.jpg").write_bytes(b"no photograph")
    for name in ("1.xmp", "2.XMP", "3.xmp", "notes.txt", "README", "Mr. Smith was here", ".DS_Store"):
        (folder / name).touch()
    said, summary = index(settings_of(folder, tmp_path / "w"))
    assert said == [
        "index used 2 photographs, refused 1 photograph, 6 files skipped: 3 .xmp, 2 without ending, 1 .txt"
    ]
    assert summary.skipped == {"xmp": 3, "without ending": 2, "txt": 1}


def test_a_new_file_is_counted_though_the_index_is_reused(tmp_path: Path) -> None:
    settings = settings_of(photographs(tmp_path / "photos", 1), tmp_path / "w")
    assert index(settings)[0] == ["index used 1 photograph, refused 0 photographs, 0 files skipped"]
    (tmp_path / "photos" / "film.mov").touch()
    assert index(settings)[0] == ["index used 1 photograph, refused 0 photographs, 1 file skipped: 1 .mov"]


def test_the_workspace_and_refused_masks(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", 2)
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "0.png").write_bytes(b"no mask")
    settings = settings_of(folder, folder / "workspace", masks)
    said, _ = index(settings)
    assert said == ["index used 2 photographs, refused 0 photographs and 1 mask, 0 files skipped"]
    assert index(settings)[0] == said


def test_of_many_endings_the_most_frequent_are_shown(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", 1)
    for number in range(20):
        (folder / f"x.e{number:02d}").touch()
    (folder / "y.e13").touch()
    (line,) = index(settings_of(folder, tmp_path / "w"))[0]
    assert "21 files skipped: 2 .e13, 1 .e00, 1 .e01" in line
    assert line.endswith("1 .e10, and others")


def test_the_page_has_the_line_too(finished: Settings) -> None:
    page = find_job(finished).checkpoint("report").read_file("report.html").decode()
    assert "The index used 14 photographs, refused 0 photographs, 0 files skipped." in page
