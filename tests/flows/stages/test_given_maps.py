"""The segmenter ``labels``: label maps of another program go through the pipeline and into comparisons."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcn.errors import InvalidOptionError
from flows.cli.app import app
from flows.cli.export import export_labels
from flows.compare.rows import comparison_row, comparison_table
from flows.compare.variants import segmenter_variants
from flows.errors import EmptyDatasetError, InvalidSettingsError, describe_error
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.execution.run import StageResult
from flows.inputs.image_index import open_index
from flows.inputs.summaries import SegmentSummary
from flows.settings import Settings
from flows.settings.choices import SEGMENTERS_WITH_DEFAULTS
from flows.settings.loading import load_settings
from tests.flows.helpers import changed, mask_folder_of, run_stages

QUICK = {"num_seeds": 1, "neighbors": [], "attainable_images": 0, "true_regions": False}


@dataclass(frozen=True)
class Given:
    """A run whose label maps are the ground truth; one of them is missing and one is broken."""

    settings: Settings
    results: dict[str, StageResult]
    maps: Path


@pytest.fixture(scope="module")
def given(tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("given")
    settings = Settings.model_validate({**tiny_config, "workspace": str(folder / "workspace")})
    maps = folder / "maps"
    shutil.copytree(mask_folder_of(settings), maps)
    (maps / "left" / "scene 01.png").unlink()
    (maps / "right" / "scene 02.png").write_bytes(b"no map")
    segmenter = {"name": "labels", "root": str(maps), "num_regions": 3}
    settings = changed(settings, segment={"segmenter": segmenter}, evaluate=QUICK)
    return Given(settings, run_stages(settings, "evaluate"), maps)


def test_no_network_is_trained(given: Given) -> None:
    assert list(given.results) == ["index", "extract", "segment", "embed", "evaluate"]


def test_a_missing_and_a_broken_map_leave_their_photographs_out_and_are_named(given: Given) -> None:
    missing, broken = sorted(given.results["segment"].warnings)
    place = given.maps / "left" / "scene 01"
    assert missing == f"left/scene 01.png was left out: it has no label map {place}.png or {place}.npy"
    assert broken.startswith("right/scene 02.png was left out: its label map ")
    assert "cannot be used: cannot identify image file" in broken
    assert SegmentSummary.read(find_job(given.settings)).images == 12


def test_the_regions_are_those_of_the_maps(given: Given, tmp_path: Path) -> None:
    assert export_labels(given.settings, "regions", tmp_path) == 12
    job = find_job(given.settings)
    area = job.checkpoint("segment").array("area").rows(0, 14)
    for image in open_index(job).images():
        path = tmp_path / f"{image.item.id}.png"
        if not path.exists():
            assert not area[image.row].any()
            continue
        regions, true = (
            np.asarray(Image.open(path)),
            np.asarray(Image.open(given.maps / f"{image.item.id}.png")),
        )
        assert (regions == true).mean() > 0.97  # the map was scaled to 32 x 32 and back
        np.testing.assert_array_equal(area[image.row], np.bincount(regions.ravel(), minlength=3))


def test_the_same_protocols_measure_them(given: Given) -> None:
    results = read_results(find_job(given.settings))
    assert results.images == 12
    bound = results.of(UpperBound).miou
    assert bound is not None
    assert bound > 0.9


def test_they_are_a_row_of_a_comparison_and_their_seconds_are_unknown(given: Given) -> None:
    both = changed(given.settings, compare={"segmenters": ["kmeans", "labels"], "num_regions": [3]})
    kmeans, labels = segmenter_variants(both)
    assert (kmeans.name, labels.name) == ("kmeans, k = 3", "labels")
    assert find_job(labels.settings).keys["evaluate"] == find_job(given.settings).keys["evaluate"]
    run_stages(kmeans.settings, "evaluate")
    titles, rows = comparison_table([comparison_row(kmeans), comparison_row(labels)])
    seconds = titles.index("seconds per image")
    assert rows[0][seconds] != "-"
    assert rows[1][seconds] == "-"
    bound = titles.index("upper bound mIoU")
    assert float(rows[1][bound].split()[0]) > float(rows[0][bound].split()[0])


def test_a_changed_map_changes_the_key_of_segment_and_refinement_does_not(given: Given) -> None:
    before = dict(find_job(given.settings).keys)
    assert find_job(changed(given.settings, segment={"refine": False})).keys == before
    assert (
        find_job(changed(given.settings, segment={"smallest_part": 0.1})).keys["segment"] != before["segment"]
    )
    path = given.maps / "left" / "scene 03.png"
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(content)
    now = time.time_ns()
    try:
        os.utime(path, ns=(now, now))
        after = find_job(given.settings).keys
        assert {stage for stage in before if after[stage] != before[stage]} == {
            "segment",
            "embed",
            "evaluate",
            "report",
        }
    finally:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert find_job(given.settings).keys == before


def test_without_any_map_the_run_ends_with_the_reason(given: Given, tmp_path: Path) -> None:
    empty = changed(given.settings, segment={"segmenter": {"name": "labels", "root": str(tmp_path)}})
    with pytest.raises(EmptyDatasetError, match="no photograph could be segmented"):
        run_stages(empty, "segment")
    missing = changed(
        given.settings, segment={"segmenter": {"name": "labels", "root": str(tmp_path / "gone")}}
    )
    with pytest.raises(InvalidOptionError) as raised:
        find_job(missing)
    assert "gone (setting segment.segmenter.root)" in describe_error(raised.value)


def test_a_comparison_runs_them_only_if_they_have_a_folder() -> None:
    assert "labels" not in SEGMENTERS_WITH_DEFAULTS
    assert "labels" not in load_settings("sample").compare.segmenters
    settings = load_settings("sample", ["compare.segmenters=[kmeans, labels]"])
    with pytest.raises(
        InvalidSettingsError, match=r"compare.segmenters labels: segment.segmenter.root: it has no value"
    ):
        segmenter_variants(settings)
    result = CliRunner().invoke(app, ["compare", "sample", "--set", "compare.segmenters=[labels]"])
    assert result.exit_code == 1
    assert "segment.segmenter.root" in result.stderr
