"""Every stage and command sees the same region of a pixel, with refined borders and without."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from dcn.model import Model
from dcn.refinement import fine_label_map
from dcn.regions import label_map, resize_label_map
from flows.cli.export import export_labels
from flows.cli.predict import predict
from flows.execution.plan import find_job
from flows.inputs.datasets import open_dataset, read_photograph
from flows.inputs.given_files import GivenFile
from flows.inputs.image_index import open_index
from flows.library.run_model import model_of_run
from flows.settings import SegmentSettings, Settings
from tests.flows.helpers import changed, photograph_folder_of, run_stages

BORDERS = {
    "refined": SegmentSettings(),
    "without small parts": SegmentSettings(smallest_part=0.02),
    "bilinear without small parts": SegmentSettings(refine=False, smallest_part=0.02),
    "bilinear": SegmentSettings(refine=False),
}


@pytest.fixture(scope="module")
def trained(finished: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A copy of the tiny pipeline, for all runs of this module."""
    workspace = tmp_path_factory.mktemp("borders") / "workspace"
    shutil.copytree(finished.workspace, workspace)
    return changed(finished, workspace=str(workspace))


def with_borders(settings: Settings, borders: SegmentSettings) -> Settings:
    return changed(settings, segment={"refine": borders.refine, "smallest_part": borders.smallest_part})


@pytest.fixture(scope="module", params=list(BORDERS))
def ran(request: pytest.FixtureRequest, trained: Settings) -> tuple[Settings, SegmentSettings]:
    """The tiny pipeline up to ``evaluate``, and how it treats borders."""
    settings = with_borders(trained, BORDERS[request.param])
    run_stages(settings, "evaluate")
    return settings, BORDERS[request.param]


def exported(settings: Settings, output: Path) -> list[np.ndarray]:
    """The label maps that ``dcn export`` writes, in the order of the rows."""
    export_labels(settings, "regions", output)
    images = open_index(find_job(settings)).images()
    return [np.asarray(Image.open(output / f"{image.item.id}.png")) for image in images]


def test_regions_are_the_fine_label_map_of_the_photograph(
    ran: tuple[Settings, SegmentSettings], tmp_path: Path
) -> None:
    settings, borders = ran
    job = find_job(settings)
    index, dataset = open_index(job), open_dataset(settings.dataset)
    assignment = job.checkpoint("segment").array("assignment").rows(0, 14)
    moved = 0.0
    for image, labels in zip(index.images(), exported(settings, tmp_path), strict=True):
        photograph = read_photograph(dataset, image) if borders.refine else None
        size = image.height, image.width
        bilinear = label_map(assignment[image.row], *size)
        fine = fine_label_map(assignment[image.row], photograph, borders.smallest_part)
        expected = resize_label_map(fine, *size) if borders.stores_labels else bilinear
        np.testing.assert_array_equal(labels, expected)
        moved += (labels != bilinear).mean() / 14
        if borders.smallest_part:
            parts = np.bincount(label(fine, background=-1, connectivity=1).ravel())[1:]
            assert parts.min() >= borders.smallest_part * fine.size
    assert (moved > 0.01) == borders.refine or borders.smallest_part


def test_areas_boxes_and_the_evaluation_count_the_exported_pixels(
    ran: tuple[Settings, SegmentSettings], tmp_path: Path
) -> None:
    settings, _ = ran
    job = find_job(settings)
    area, box = (job.checkpoint("segment").array(name).rows(0, 14) for name in ("area", "box"))
    overlap = job.checkpoint("evaluate").array("overlap").rows(0, 14)  # [N, k, C]; no pixel is ignored
    embedded = job.checkpoint("embed").array("embedding").rows(0, 14).any(axis=2)
    maps = exported(settings, tmp_path)
    expected = np.array([np.bincount(labels.ravel(), minlength=3) for labels in maps])
    np.testing.assert_array_equal(area, expected)
    np.testing.assert_array_equal(overlap.sum(axis=2), expected)
    np.testing.assert_array_equal(embedded, expected > 0)
    for row, region in np.argwhere(expected):
        inside = np.argwhere(maps[row] == region)
        assert box[row, region].tolist() == [*inside.min(axis=0), *(inside.max(axis=0) + 1)]


def test_predict_treats_borders_like_the_pipeline(
    ran: tuple[Settings, SegmentSettings], tmp_path: Path
) -> None:
    settings, _ = ran
    model = Model(model_of_run(settings))
    maps = exported(settings, tmp_path / "exported")
    images = list(open_index(find_job(settings)).images())[:4]
    root = photograph_folder_of(settings)
    files = [GivenFile(root / image.item.image, image.item.id) for image in images]
    for image, found in zip(images, predict(files, model, tmp_path / "predicted"), strict=True):
        assert found.regions == tmp_path / "predicted" / "regions" / f"{image.item.id}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(found.regions)), maps[image.row])


def test_label_maps_are_stored_only_if_the_assignment_does_not_determine_them(
    ran: tuple[Settings, SegmentSettings],
) -> None:
    settings, borders = ran
    arrays = {spec.name for spec in find_job(settings).checkpoint("segment").require().arrays}
    assert ("labels" in arrays) == (borders != BORDERS["bilinear"])
