"""``evaluate.background: none``: all regions are clustered into all classes; no foreground step decides."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import confusion_matrix
from sklearn.preprocessing import normalize

from dcn.model import Model
from flows.cli.export import export_labels
from flows.evaluation.costs import cost_table
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.kmeans_runs import wanted_clusters
from flows.evaluation.protocols.foreground import Foreground, ForegroundVariants
from flows.evaluation.protocols.kmeans import KMeans as KMeansProtocol
from flows.evaluation.protocols.true_regions import TrueRegions
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import Results, read_results
from flows.execution.plan import find_job
from flows.library.run_model import model_of_run
from flows.report.headline import headline_metrics
from flows.settings import Settings
from tests.flows.helpers import changed, mask_folder_of, photograph_folder_of, run_stages, without_truth

SEEDS = range(3)


@pytest.fixture(scope="module")
def settings(finished: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The finished pipeline, evaluated without a foreground step."""
    workspace = tmp_path_factory.mktemp("all") / "workspace"
    shutil.copytree(finished.workspace, workspace)
    chosen = changed(finished, workspace=str(workspace), evaluate={"background": "none"})
    run_stages(chosen)
    return chosen


@pytest.fixture(scope="module")
def results(settings: Settings) -> Results:
    return read_results(find_job(settings))


@pytest.fixture(scope="module")
def maps(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[np.ndarray]]:
    """Regions, classes and masks of the photographs, by row."""
    output = tmp_path_factory.mktemp("exported")
    found = {}
    for what in ("regions", "semantic"):
        export_labels(settings, what, output / what)
        found[what] = [np.asarray(Image.open(path)) for path in sorted((output / what).rglob("*.png"))]
    found["masks"] = [
        np.asarray(Image.open(path)) for path in sorted(mask_folder_of(settings).rglob("*.png"))
    ]
    return found


def test_metrics_are_those_of_a_plain_computation(
    settings: Settings, results: Results, maps: dict[str, list[np.ndarray]]
) -> None:
    """Three classes, the background among them, and three clusters of all regions."""
    job = find_job(settings)
    area = job.checkpoint("segment").array("area").rows(0, 14)
    rows, regions = np.nonzero(area)
    unit = normalize(job.checkpoint("embed").array("embedding").rows(0, 14)[rows, regions])
    truth = np.concatenate([mask.ravel() for mask in maps["masks"]])
    miou, share, inertia, painted = [], [], [], []
    for seed in SEEDS:
        model = KMeans(3, n_init=1, random_state=seed).fit(unit)
        clusters = np.zeros(area.shape, dtype=np.int64)
        clusters[rows, regions] = model.labels_
        predicted = np.concatenate(
            [clusters[row][labels].ravel() for row, labels in enumerate(maps["regions"])]
        )
        shared = confusion_matrix(predicted, truth, labels=range(3))
        iou = shared / (shared.sum(axis=0) + shared.sum(axis=1)[:, None] - shared)
        of_cluster, of_class = linear_sum_assignment(-iou)
        assert of_cluster.tolist() == [0, 1, 2]
        miou.append(iou[of_cluster, of_class].mean())
        share.append(shared[of_cluster, of_class].sum() / shared.sum())
        inertia.append(model.inertia_)
        painted.append(of_class[predicted])
    found = results.of(KMeansProtocol)
    assert (found.clusters, found.background, found.shown_seed) == (3, "none", int(np.argmin(inertia)))
    reached = [found.miou, found.miou_deviation, found.accuracy, found.accuracy_deviation]
    assert reached == pytest.approx([np.mean(miou), np.std(miou), np.mean(share), np.std(share)])
    shown = np.concatenate([labels.ravel() for labels in maps["semantic"]])
    np.testing.assert_array_equal(shown, painted[found.shown_seed])


def test_only_the_evaluation_is_computed_again(finished: Settings, settings: Settings) -> None:
    before, after = find_job(finished).keys, find_job(settings).keys
    assert {stage for stage in before if before[stage] != after[stage]} == {"evaluate", "report"}
    assert find_job(changed(finished, evaluate={"background": "found"})).keys == before


def test_nothing_is_said_about_a_foreground(settings: Settings, finished: Settings, results: Results) -> None:
    assert results.find(Foreground) is None
    assert results.find(ForegroundVariants) is None
    assert read_results(find_job(finished)).of(KMeansProtocol).background is None
    shown = {headline.name: headline for headline in headline_metrics(results)}
    assert shown["k-means mIoU"].meaning == "3 clusters, 3 seeds, all regions"
    assert "foreground IoU" not in shown
    page = find_job(settings).checkpoint("report").read_file("report.html").decode()
    assert '"kind": "foreground"' not in page
    assert "Regions that stand out" not in page


def test_the_costs_are_those_of_segmentation_and_classification(results: Results) -> None:
    of_truth, bound = results.of(TrueRegions), results.of(UpperBound)
    assert (of_truth.upper_bound_of_foreground.miou, of_truth.upper_bound_of_foreground.accuracy) == (
        bound.miou,
        bound.accuracy,
    )
    found = results.of(KMeansProtocol)
    assert of_truth.kmeans_of_true_foreground.miou == found.miou
    rows = [(row.regions, row.foreground, row.classes) for row in cost_table(results)]
    assert rows[:4] == [
        ("true", "none", "true"),
        ("found", "none", "true"),
        ("true", "none", "k-means"),
        ("found", "none", "k-means"),
    ]
    assert all(foreground == "none" for _, foreground, _ in rows)


def test_the_model_gives_every_region_a_class(settings: Settings, maps: dict[str, list[np.ndarray]]) -> None:
    model = Model(model_of_run(settings), device="cpu")
    photographs = sorted(photograph_folder_of(settings).rglob("*.png"))
    for photograph, semantic in list(zip(photographs, maps["semantic"], strict=True))[:3]:
        result = model.segment(photograph)
        np.testing.assert_array_equal(result.foreground, result.area > 0)
        np.testing.assert_array_equal(result.semantic, semantic)


def test_photographs_without_ground_truth_need_the_embeddings_of_all_regions(settings: Settings) -> None:
    folder = without_truth(photograph_folder_of(settings))
    unlabelled = changed(settings, dataset=folder)
    assert unlabelled.embeds_background
    assert not changed(unlabelled, evaluate={"background": "found"}).embeds_background


class TestNumberOfClusters:
    """One for each class; the first class counts if some mask has it."""

    @staticmethod
    def wanted(settings: Settings, **evaluate: object) -> int | None:
        chosen = changed(settings, evaluate=evaluate)
        return wanted_clusters(EvaluatedRun.open(find_job(chosen)))

    def test_the_first_class_is_one_like_the_others(self, settings: Settings) -> None:
        assert self.wanted(settings) == 3
        assert self.wanted(settings, background="found") == 2
        assert self.wanted(settings, num_clusters=7) == 7

    def test_a_first_class_that_no_mask_has_is_not_counted(self, settings: Settings) -> None:
        """A class file may begin with background although the masks have none."""
        named = {"0": "red", "1": "red", "2": "blue"}
        other = changed(settings, dataset={"mask_values": named})
        run_stages(other, "index")
        assert self.wanted(other) == 2
        assert self.wanted(other, background="found") == 2

    def test_without_classes_there_are_twenty(self, settings: Settings) -> None:
        other = changed(settings, dataset=without_truth(photograph_folder_of(settings)))
        run_stages(other, "index")
        assert self.wanted(other) == 20


def test_a_foreground_step_for_classes_without_background_is_warned_of(copy: Settings) -> None:
    masks = Path(copy.workspace).with_name("masks")
    shutil.copytree(mask_folder_of(copy), masks)
    for path in masks.rglob("*.png"):
        mask = np.asarray(Image.open(path)).copy()
        mask[mask == 0] = 255
        mask[0, 0] = 1
        Image.fromarray(mask).save(path)
    named = changed(copy, dataset={"masks": str(masks)})
    warnings = run_stages(named, "evaluate")["evaluate"].warnings
    assert any(
        "no labelled pixel of the split all is 'background', but background regions get this class; set "
        "evaluate.background to none" in warning
        for warning in warnings
    )
