"""The most and the least typical regions of each class, against a plain calculation."""

import numpy as np
import pytest

from flows.evaluation.protocols.kmeans import SEMANTIC
from flows.execution.plan import find_job
from flows.report import gallery
from flows.report.gallery import class_galleries
from flows.settings import Settings
from tests.flows.helpers import changed, run_stages

pytestmark = pytest.mark.slow


def places(settings: Settings) -> dict[int, list[tuple[float, int, int]]]:
    """Distance to the center of the class, photograph and number of every region, by class, sorted."""
    job = find_job(settings)
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)
    embedding = job.checkpoint("embed").array("embedding").rows(0, 14).astype(float)
    found = {}
    for label in set(semantic[semantic > 0].tolist()):
        members = np.argwhere(semantic == label)
        unit = np.array([embedding[i, j] / np.linalg.norm(embedding[i, j]) for i, j in members])
        distances = np.sqrt(((unit - unit.mean(axis=0)) ** 2).sum(axis=1))
        found[label] = sorted((d, int(i), int(j)) for d, (i, j) in zip(distances, members, strict=True))
    return found


@pytest.mark.parametrize("shown", [2, 12])
def test_regions_are_sorted_by_their_distance_to_the_center_of_their_class(
    finished: Settings, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "_SHOWN", shown)
    expected, found = places(finished), class_galleries(find_job(finished))
    assert list(found) == sorted(expected)
    for label, regions in expected.items():
        assert found[label].count == len(regions)
        nearest, farthest = regions[:shown], regions[shown:][::-1][:shown]
        for placed, group in ((found[label].typical, nearest), (found[label].least, farthest)):
            assert [(one.image, one.region) for one in placed] == [(i, j) for _, i, j in group]
            assert [one.distance for one in placed] == pytest.approx([d for d, _, _ in group], abs=1e-6)


def test_regions_that_are_classes_already_are_sorted_by_their_area(copy: Settings) -> None:
    settings = changed(copy, segment={"segmenter": {"name": "pixels", "num_clusters": 4}})
    run_stages(settings)
    job = find_job(settings)
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)
    area = job.checkpoint("segment").array("area").rows(0, 14)
    for label, found in class_galleries(job).items():
        expected = sorted(area[semantic == label].tolist(), reverse=True)
        assert [-one.distance for one in found.typical] == expected[:12]
    page = job.checkpoint("report").read_file("report.html").decode()
    assert "<h4>largest</h4>" in page
