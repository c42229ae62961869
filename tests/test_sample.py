"""The demo on real photographs with real weights: the regions, the metrics and the page."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.pictures.drawing import draw
from docs.pictures.table import PICTURES
from flows.evaluation.protocols.foreground import Foreground
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.protocols.knn import KNN
from flows.evaluation.protocols.modularity import Modularity
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.inputs.datasets import open_dataset
from flows.inputs.image_index import open_index
from flows.inputs.region_maps import RegionMaps
from flows.inputs.summaries import TrainSummary
from flows.settings import Settings
from flows.settings.loading import load_settings
from tests.browser import browse
from tests.flows.helpers import changed, run_stages

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The configuration of the demo, run to its end."""
    settings = load_settings("sample", workspace=str(tmp_path_factory.mktemp("sample")))
    run_stages(settings)
    return settings


def test_regions_find_the_objects(sample: Settings) -> None:
    """One region covers the object of each photograph but the two with several objects or hardly any."""
    job = find_job(sample)
    index, dataset = open_index(job), open_dataset(sample.dataset)
    found = {}
    for image in index.images():
        labels = RegionMaps.read(job, image.row, image.row + 1).of(image)  # [H, W]
        mask = dataset.read_mask(image.item, image.height, image.width)
        assert mask is not None
        counted, inside = mask != dataset.ignore_label, (mask > 0) & (mask != dataset.ignore_label)
        regions = [(labels == region) & counted for region in np.unique(labels)]
        found[image.item.id] = max((region & inside).sum() / (region | inside).sum() for region in regions)
    assert sum(iou >= 0.75 for iou in found.values()) >= 6, found


def test_classes_and_foreground_are_those_of_the_ground_truth(sample: Settings) -> None:
    results = read_results(find_job(sample))
    assert (results.of(KMeans).miou or 0) >= 0.65
    assert (results.of(Foreground).iou or 0) >= 0.70
    assert results.find(KNN) is None


def test_all_regions_get_classes_without_a_foreground_step(sample: Settings) -> None:
    """Eight classes of eight photographs, the background among them, from eight clusters of all regions."""
    chosen = changed(sample, evaluate={"background": "none"})
    run_stages(chosen, "evaluate")
    results = read_results(find_job(chosen))
    found, bound = results.of(KMeans), results.of(UpperBound)
    assert found.clusters == len(open_index(find_job(chosen)).class_names)
    assert results.find(Foreground) is None
    assert 0.3 <= (found.miou or 0) <= (bound.miou or 0)
    assert 0.5 <= (found.accuracy or 0) <= (bound.accuracy or 0)


def test_training_reaches_nearly_the_attainable_modularity(sample: Settings) -> None:
    results = read_results(find_job(sample))
    assert (results.of(Modularity).share_of_attainable or 0) > 0.9
    assert (results.of(UpperBound).accuracy or 0) > 0.9
    assert TrainSummary.read(find_job(sample)).collapsed_iterations == 0


def test_the_picture_of_the_readme_shows_these_results(sample: Settings) -> None:
    """Processors differ in a few pixels at borders, and JPEG in a few gray levels."""
    (strip,) = (picture for picture in PICTURES if picture.name == "strip")
    drawn = draw(strip, [find_job(sample)]).astype(float)
    shown = np.asarray(Image.open(strip.file)).astype(float)
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 6, "run make pictures"


def test_the_page_opens_in_a_browser_without_an_error(sample: Settings, tmp_path: Path) -> None:
    page = Path(find_job(sample).checkpoint("report").location, "files", "report.html")
    shot = tmp_path / "page.png"
    result = browse(page, tmp_path / "profile", f"--screenshot={shot}")
    assert shot.stat().st_size > 100_000, result.stderr
    assert "CONSOLE" not in result.stderr
    dom = browse(page, tmp_path / "profile", "--dump-dom").stdout
    pictures = re.findall(r'<img[^>]* alt="([^"]+)" src="data:image/', dom)
    photographs = [name for name in pictures if " of " in name]
    columns = ("photograph", "regions", "foreground", "classes", "ground truth")
    ids = [image.item.id for image in open_index(find_job(sample)).images()]
    assert sorted(photographs) == sorted(f"{column} of {name}" for column in columns for name in ids)
    crops = [name for name in pictures if re.search(r", region \d+$", name)]
    assert {name.partition(",")[0] for name in crops} <= set(ids)
    assert len(crops) == len(set(crops)) >= 8, "the gallery has a foreground region of every photograph"
    assert [name for name in pictures if name not in photographs and name not in crops] == [
        "confusion matrices",
        "Tokens and cluster centers",
        "Similarity within and across photographs",
        "Qualitative results",
        "Region retrieval",
        "loss over iterations",
        "regions per photograph",
        "regions against classes",
    ]
    for text in (
        "share of attainable modularity",
        "astronaut",
        "ground truth",
        "Provenance",
        "Every photograph and every mask could be read",
    ):
        assert text in dom
