"""Clusterers in a run: keys, results, true regions, and the classes of new photographs."""

import json
import shutil

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.cluster import AgglomerativeClustering
from sklearn.preprocessing import normalize

from dcn.class_centers import ClassCenters
from dcn.clusterers import AgglomerativeClusterer
from dcn.evaluation.overlap import confusion_matrix
from dcn.evaluation.protocols import Regions, matched_classes
from flows.evaluation.costs import cost_table
from flows.evaluation.protocols.kmeans import SEMANTIC, KMeans
from flows.evaluation.protocols.true_regions import TrueRegions
from flows.evaluation.region_table import read_regions, read_true_regions
from flows.evaluation.results import Results, read_results
from flows.execution.plan import find_job
from flows.library.run_model import model_of_run
from flows.report.headline import headline_metrics
from flows.settings import Settings
from tests.flows.helpers import changed, run_stages

AGGLOMERATIVE = {"clustering": {"name": "agglomerative", "linkage": "average"}, "num_clusters": 3}
MERGED = {"overclustering": 2, "num_clusters": 2, "num_seeds": 2}


@pytest.fixture(scope="module")
def here(finished: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A copy of the finished pipeline, in which other evaluations are run."""
    place = tmp_path_factory.mktemp("clustering") / "workspace"
    shutil.copytree(finished.workspace, place)
    return changed(finished, workspace=str(place))


@pytest.fixture(scope="module")
def agglomerative(here: Settings) -> Settings:
    settings = changed(here, evaluate=AGGLOMERATIVE)
    ran = run_stages(settings, "evaluate")
    assert [stage for stage, result in ran.items() if not result.reused] == ["evaluate"]
    return settings


@pytest.fixture(scope="module")
def merged(here: Settings) -> Settings:
    settings = changed(here, evaluate=MERGED)
    run_stages(settings, "evaluate")
    return settings


def expected(regions: Regions) -> tuple[np.ndarray, float | None]:
    """Clusters ``[R]`` by scikit-learn alone, and the mean IoU of the classes that match them best."""
    known = np.flatnonzero(regions.foreground & regions.embedded)
    fitted = AgglomerativeClustering(3, linkage="average").fit(normalize(regions.embedding[known]))
    clusters = np.zeros(len(regions.index), dtype=np.int64)
    clusters[known] = fitted.labels_ + 1
    return clusters, matched_classes(confusion_matrix(regions.overlap, clusters, 4))[1].miou


def test_plain_kmeans_has_the_key_and_the_results_that_it_had_before(finished: Settings) -> None:
    job = find_job(finished)
    explicit = {"clustering": {"name": "kmeans"}, "overclustering": 1}
    assert find_job(changed(finished, evaluate=explicit)).keys == job.keys
    assert "clustering" not in job.checkpoint("evaluate").require().settings
    section = json.loads(job.checkpoint("evaluate").read_file("results.json"))["kmeans"]
    assert not {"clustering", "overclustering", "number_found", "center_agreement"} & section.keys()


def test_every_option_has_a_key_of_its_own(here: Settings) -> None:
    options: list[dict[str, object]] = [
        {},
        {"clustering": {"name": "spectral"}},
        {"clustering": {"name": "spectral", "num_neighbors": 10}},
        {"clustering": {"name": "balanced"}},
        {"clustering": {"name": "agglomerative"}},
        {"overclustering": 2},
        {"num_clusters": "auto"},
    ]
    keys = [find_job(changed(here, evaluate=option)).keys for option in options]
    assert len({one["evaluate"] for one in keys}) == len(options)
    assert len({one["embed"] for one in keys}) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"clustering": {"name": "dbscan"}},
        {"clustering": {"name": "kmeans", "linkage": "ward"}},
        {"clustering": {"name": "balanced", "smallest": 1.5}},
        {"clustering": {"name": "balanced", "largest": 0.9}},
        {"overclustering": 0},
        {"num_clusters": "many"},
    ],
)
def test_wrong_options_are_refused(here: Settings, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        changed(here, evaluate=wrong)


def test_classes_are_those_of_scikit_learn_for_found_and_for_true_regions(agglomerative: Settings) -> None:
    job = find_job(agglomerative)
    found = read_results(job).of(KMeans)
    rows = np.unique(np.nonzero(job.checkpoint("evaluate").read_values(SEMANTIC) >= 0)[0])
    _, miou = expected(read_regions(job, rows))
    assert found.miou == pytest.approx(miou)
    assert (found.clustering, found.seeds, found.clusters) == ("agglomerative", 1, 3)
    _, of_true = expected(read_true_regions(job, rows))
    assert read_results(job).of(TrueRegions).kmeans.miou == pytest.approx(of_true)


def test_pages_and_tables_name_the_method(agglomerative: Settings) -> None:
    results = read_results(find_job(agglomerative))
    names = [headline.name for headline in headline_metrics(results)]
    assert "agglomerative clustering mIoU" in names
    assert not any("k-means" in name for name in names)
    assert {row.classes for row in cost_table(results)} >= {"agglomerative clustering", "true"}
    assert next(one.title for one in results.classifications()) == "agglomerative clustering"
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def test_the_model_classifies_by_the_nearest_center_and_the_agreement_is_measured(
    agglomerative: Settings,
) -> None:
    job = find_job(agglomerative)
    stored = model_of_run(agglomerative)
    assert stored.class_centers is not None
    assert stored.description.classes is not None
    centers = ClassCenters(stored.class_centers, stored.description.classes)
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)
    regions = read_regions(job, np.unique(np.nonzero(semantic >= 0)[0]))
    own = AgglomerativeClusterer(linkage="average")
    known = regions.take(regions.foreground & regions.embedded)
    labels = own.labels(normalize(known.embedding), 3, 0)
    means = np.stack([normalize(known.embedding)[labels == k].mean(axis=0) for k in range(3)])
    order = [int(np.abs(centers.centers - mean).sum(axis=1).argmin()) for mean in means]
    np.testing.assert_allclose(centers.centers[order], means, atol=1e-6)
    distance = ((normalize(known.embedding)[:, None] - means) ** 2).sum(axis=-1)
    agreement = float((distance.argmin(axis=1) == labels).mean())
    assert (read_results(job).of(KMeans).center_agreement or 1) == pytest.approx(agreement)


def test_merged_clusters_have_several_centers_and_one_class(merged: Settings) -> None:
    job = find_job(merged)
    found = read_results(job).of(KMeans)
    assert (found.clusters, found.overclustering, found.clustering) == (2, 2, "kmeans")
    stored = model_of_run(merged)
    assert stored.class_centers is not None
    assert stored.description.classes is not None
    centers = ClassCenters(stored.class_centers, stored.description.classes)
    assert len(centers.centers) == 4
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)
    regions = read_regions(job, np.unique(np.nonzero(semantic >= 0)[0]))
    known = regions.take(regions.foreground & regions.embedded)
    classes = centers.classify(known.embedding).classes
    np.testing.assert_array_equal(classes, semantic[known.image, known.index])


def test_the_number_may_be_found(here: Settings) -> None:
    settings = changed(here, evaluate={"num_clusters": "auto", "num_seeds": 1})
    run_stages(settings, "evaluate")
    results = read_results(find_job(settings))
    found = results.of(KMeans)
    assert found.number_found
    assert found.clusters >= 1
    of_truth = results.of(TrueRegions)
    assert of_truth.kmeans.clusters is not None
    assert any("the most stable number" in headline.meaning for headline in headline_metrics(results))


def test_fewer_clusters_than_wanted_among_many_regions_are_said(here: Settings) -> None:
    """The only eigenvector is the constant one, so all regions are one point."""
    spectral = {"name": "spectral", "num_eigenvectors": 1}
    settings = changed(here, evaluate={"clustering": spectral, "num_clusters": 2, "num_seeds": 1})
    result = run_stages(settings, "evaluate")["evaluate"]
    regions = read_regions(find_job(settings), np.arange(14))
    count = int((regions.foreground & regions.embedded).sum())
    assert result.warnings == (
        f"spectral clustering has 1 clusters instead of 2: it finds no more in the {count} foreground regions",
    )
