"""True regions recomputed from the photographs and the masks, and the table of what each step costs."""

import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from timm.models import VisionTransformer

from flows.cli import running
from flows.cli.export import export_labels
from flows.errors import InvalidSettingsError
from flows.evaluation.costs import CostRow, cost_table
from flows.evaluation.kmeans_runs import SeedMetrics
from flows.evaluation.protocols.kmeans import KMeans as KMeansProtocol
from flows.evaluation.protocols.knn import KNN
from flows.evaluation.protocols.true_regions import TrueRegions
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import Results, read_results
from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import compute_shards, run_stage
from flows.settings import Settings
from tests.conftest import TINY_VIT
from tests.flows.evaluation.test_results import CLASSES, SPLITS, VOID, voc_folder_of, write_voc
from tests.flows.helpers import changed, run_stages

Embeddings = dict[tuple[int, int], np.ndarray]  # by row and region
ROWS, EVALUATED = range(17), SPLITS["val"]


@pytest.fixture(scope="module")
def settings(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("truth")
    return Settings.model_validate(
        {
            **tiny_config,
            "dataset": {"name": "voc2012", "root": str(write_voc(root))},
            "segment": {"segmenter": {"name": "kmeans", "num_regions": 4}},
            "evaluate": {"num_seeds": 3, "num_clusters": 4, "neighbors": [1, 3], "attainable_images": 0},
            "workspace": str(root / "workspace"),
        }
    )


@pytest.fixture(scope="module")
def results(settings: Settings) -> Results:
    return Results.from_manifest(run_stages(settings)["evaluate"].manifest)


@pytest.fixture(scope="module")
def masks(settings: Settings) -> list[np.ndarray]:
    folder = voc_folder_of(settings) / "SegmentationClass"
    return [np.asarray(Image.open(folder / f"{row:02d}.png")) for row in ROWS]


@pytest.fixture(scope="module")
def of_true(settings: Settings, masks: list[np.ndarray]) -> Embeddings:
    """Masked crops through timm alone."""
    model = timm.create_model(TINY_VIT, num_classes=0, dynamic_img_size=True).eval()
    assert isinstance(model, VisionTransformer)
    assert settings.backbone.weights is not None
    model.load_state_dict(load_file(settings.backbone.weights))
    found = {}
    for row, mask in enumerate(masks):
        photograph = Image.open(voc_folder_of(settings) / "JPEGImages" / f"{row:02d}.jpg")
        for label in np.unique(mask[mask != VOID]).tolist():
            y, x = np.nonzero(mask == label)
            box = int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1
            inside = Image.fromarray(mask == label).crop(box).resize((32, 32), Image.Resampling.NEAREST)
            crop = np.asarray(photograph.crop(box).resize((32, 32), Image.Resampling.BICUBIC))
            pixels = torch.from_numpy((crop / 255 - 0.5) / 0.5 * np.asarray(inside)[..., None]).float()
            with torch.inference_mode():
                found[row, label] = model.forward_features(pixels.permute(2, 0, 1)[None])[0, 0].numpy()
    return found


@pytest.fixture(scope="module")
def cached(settings: Settings, results: Results, of_true: Embeddings) -> Embeddings:
    """The same embeddings as the stage stored them: k-means must get the same numbers."""
    array = find_job(settings).checkpoint("embed_truth").array("embedding").rows(0, 17)
    return {(row, label): array[row, label].astype(np.float32) for row, label in of_true}


@pytest.fixture(scope="module")
def maps(settings: Settings, results: Results, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    output = tmp_path_factory.mktemp("regions")
    export_labels(settings, "regions", output)
    return [np.asarray(Image.open(output / f"{row:02d}.png")) for row in ROWS]


def test_embeddings_are_those_of_the_masked_crops(settings: Settings, of_true: Embeddings) -> None:
    run_stages(settings, "embed_truth")
    stored = find_job(settings).checkpoint("embed_truth").array("embedding")
    assert stored.shape == (17, 21, 192)
    assert stored.rows(0, 1).dtype == np.float16
    expected = np.zeros(stored.shape, dtype=np.float32)
    for (row, label), embedding in of_true.items():
        expected[row, label] = embedding
    np.testing.assert_allclose(stored.rows(0, 17), expected, rtol=2e-3, atol=2e-3)
    assert set(np.argwhere(expected.any(axis=2))[:, 1].tolist()) == set(CLASSES)


def painted(maps: list[np.ndarray], value: dict[tuple[int, int], int]) -> np.ndarray:
    """Value of the region of every pixel of the evaluated photographs; 0 for a region without."""
    found = []
    for row in EVALUATED:
        picture = np.zeros(maps[row].shape, dtype=np.int64)
        for region in np.unique(maps[row]).tolist():
            picture[maps[row] == region] = value.get((row, region), 0)
        found.append(picture.ravel())
    return np.concatenate(found)


def scored(predicted: np.ndarray, masks: list[np.ndarray]) -> tuple[float, float]:
    """Mean IoU and pixel accuracy, class by class."""
    truth = np.concatenate([masks[row].ravel() for row in EVALUATED])
    counted = truth != VOID
    iou = [
        ((predicted == c) & (truth == c)).sum() / (((predicted == c) | (truth == c)) & counted).sum()
        for c in CLASSES
    ]
    return float(np.mean(iou)), float((predicted == truth)[counted].mean())


def check_kmeans(
    found: SeedMetrics, maps: list[np.ndarray], masks: list[np.ndarray], foreground: Embeddings
) -> None:
    """scikit-learn's k-means and SciPy's Hungarian algorithm on the foreground regions of ``maps``."""
    truth = np.concatenate([masks[row].ravel() for row in EVALUATED])
    asked = {place: x for place, x in foreground.items() if place[0] in EVALUATED}
    unit = normalize(np.stack([*asked.values()]).astype(np.float32))
    reached = []
    for seed in range(3):
        clusters = KMeans(4, n_init=1, random_state=seed).fit(unit).labels_ + 1
        pixels = painted(maps, dict(zip(asked, clusters.tolist(), strict=True)))
        shared = confusion_matrix(pixels[truth != VOID], truth[truth != VOID], labels=range(21))
        union = shared.sum(axis=0) + shared.sum(axis=1)[:, None] - shared
        matched = dict(zip(*linear_sum_assignment(-shared / union.clip(min=1)), strict=True))
        reached.append(scored(np.array([matched[cluster] for cluster in range(5)])[pixels], masks))
    miou, accuracy = np.mean(reached, axis=0)
    assert (found.miou, found.accuracy) == pytest.approx((miou, accuracy))
    deviations = np.std(reached, axis=0)
    assert (found.miou_deviation, found.accuracy_deviation) == pytest.approx(tuple(deviations))


def test_kmeans_on_true_regions(results: Results, masks: list[np.ndarray], cached: Embeddings) -> None:
    foreground = {place: x for place, x in cached.items() if place[1] != 0}
    check_kmeans(results.of(TrueRegions).kmeans, masks, masks, foreground)


def test_knn_on_true_regions(results: Results, masks: list[np.ndarray], cached: Embeddings) -> None:
    bank = {place: x for place, x in cached.items() if place[0] in SPLITS["train"]}
    search = NearestNeighbors(metric="cosine", algorithm="brute").fit(np.stack([*bank.values()]))
    labels = [label for _, label in bank]
    for k in (1, 3):
        classes = {}
        for place, embedding in cached.items():
            distances, nearest = search.kneighbors(embedding[None], k)
            votes = dict.fromkeys(CLASSES, 0.0)
            for distance, neighbor in zip(distances[0], nearest[0], strict=True):
                votes[labels[neighbor]] += max(1 - distance, 0)
            classes[place] = max(votes, key=lambda label: votes[label])
        found = results.of(TrueRegions).knn[k]
        assert (found.miou, found.accuracy) == pytest.approx(scored(painted(masks, classes), masks))
    assert list(results.of(TrueRegions).knn) == [1, 3]


def test_found_regions_with_parts_of_the_truth(
    settings: Settings, results: Results, masks: list[np.ndarray], maps: list[np.ndarray]
) -> None:
    job = find_job(settings)
    embedding = job.checkpoint("embed").array("embedding").rows(0, 17)
    chosen = job.checkpoint("segment").array("foreground").rows(0, 17)
    majority = {}
    for row in ROWS:
        for region in np.unique(maps[row]).tolist():
            labels = masks[row][(maps[row] == region) & (masks[row] != VOID)]
            majority[row, region] = int(np.bincount(labels).argmax()) if len(labels) else 0
    of_truth = results.of(TrueRegions)
    foreground = {place: embedding[place] for place, label in majority.items() if label}
    check_kmeans(of_truth.kmeans_of_true_foreground, maps, masks, foreground)
    bound = {place: label if chosen[place] else 0 for place, label in majority.items()}
    found = of_truth.upper_bound_of_foreground
    assert (found.miou, found.accuracy) == pytest.approx(scored(painted(maps, bound), masks))


def test_the_table_is_on_the_page_and_in_the_terminal(
    settings: Settings, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = cost_table(results)
    of_truth, found = results.of(TrueRegions), results.of(KMeansProtocol)
    bound, nearest = results.of(UpperBound), results.of(KNN).root[1]

    def texts(metrics: Any, seeds: bool = False) -> list[str]:
        names = ("miou", "accuracy")
        deviations = [f" ± {getattr(metrics, f'{name}_deviation'):.3f}" if seeds else "" for name in names]
        return [f"{getattr(metrics, name):.3f}{d}" for name, d in zip(names, deviations, strict=True)]

    assert rows == [
        CostRow("true", "true", "true", "1.000", "1.000"),
        CostRow("found", "true", "true", *texts(bound)),
        CostRow("found", "found", "true", *texts(of_truth.upper_bound_of_foreground)),
        CostRow("true", "true", "k-means", *texts(of_truth.kmeans, seeds=True)),
        CostRow("found", "true", "k-means", *texts(of_truth.kmeans_of_true_foreground, seeds=True)),
        CostRow("found", "found", "k-means", *texts(found, seeds=True)),
        CostRow("true", "none", "k-NN, k = 1", *texts(of_truth.knn[1])),
        CostRow("found", "none", "k-NN, k = 1", *texts(nearest)),
    ]
    page = unescape(find_job(settings).checkpoint("report").read_file("report.html").decode())
    assert "What each step costs" in page
    console = Console(width=120, record=True)
    monkeypatch.setattr(running, "out", console)
    running.print_metrics(results)
    printed = [" ".join(line.split()) for line in console.export_text().splitlines()]
    for row in rows:
        cells = [row.regions, row.foreground, row.classes]
        numbers = [row.miou, row.accuracy]
        shown = "".join(f"<td>{cell}</td>" for cell in cells)
        assert shown + "".join(f'<td class="number">{number}</td>' for number in numbers) in page
        assert " ".join([*cells, *numbers]) in printed


def test_the_stage_depends_on_photographs_masks_backbone_and_crops_alone(settings: Settings) -> None:
    before = find_job(settings).keys
    sections: list[tuple[dict[str, Any], bool]] = [
        ({"segment": {"segmenter": {"name": "ncut", "num_regions": 2}}}, True),
        ({"segment": {"segmenter": {"name": "dcn"}}, "train": {"num_prototypes": 2}}, True),
        ({"backbone": {"input_size": 80, "token_layer": -2}}, True),
        ({"evaluate": {"num_seeds": 2}}, True),
        ({"embed": {"layer": -2}}, False),
        ({"embed": {"size": 48}}, False),
        ({"backbone": {"precision": "bfloat16"}}, False),
    ]
    for section, same in sections:
        after = find_job(changed(settings, **section)).keys
        assert (after["embed_truth"] == before["embed_truth"]) == same, section


def test_the_stage_alone_is_computed_again(settings: Settings, results: Results) -> None:
    before = find_job(settings).checkpoint("embed_truth").digests()
    shutil.rmtree(Path(settings.workspace, "embed_truth"))
    computed = run_stages(settings)
    assert [stage for stage, result in computed.items() if not result.reused] == ["embed_truth"]
    assert find_job(settings).checkpoint("embed_truth").digests() == before


def test_without_the_setting_or_the_masks_the_stage_does_not_run(
    settings: Settings, results: Results
) -> None:
    without = changed(settings, evaluate={"true_regions": False})
    assert "embed_truth" not in stages_up_to(None, without)
    assert find_job(without).keys["embed"] == find_job(settings).keys["embed"]
    found = Results.from_manifest(run_stages(without)["evaluate"].manifest)
    assert set(results.sections) - set(found.sections) == {"true_regions"}
    assert cost_table(found) == []
    page = find_job(without).checkpoint("report").read_file("report.html").decode()
    assert "What each step costs" not in page
    folder = {"name": "folder", "root": str(voc_folder_of(settings) / "JPEGImages")}
    unlabelled = settings.model_copy(update={"dataset": Settings.model_validate({"dataset": folder}).dataset})
    assert "embed_truth" not in stages_up_to(None, unlabelled)
    with pytest.raises(InvalidSettingsError, match=r"needs masks with classes.*evaluate.true_regions"):
        run_stages(unlabelled, "embed_truth")


def test_regions_that_are_classes_already_need_no_true_regions(settings: Settings) -> None:
    pixels = changed(settings, segment={"segmenter": {"name": "pixels", "num_clusters": 4}})
    assert "embed_truth" not in stages_up_to(None, pixels)
    run_stages(pixels, "evaluate")
    assert read_results(find_job(pixels)).find(TrueRegions) is None


class TestFilesThatAreGone:
    """After ``index``; the other true regions stay what they are."""

    @pytest.fixture
    def here(self, settings: Settings, tmp_path: Path) -> Settings:
        dataset = {"root": str(write_voc(tmp_path / "voc"))}
        return changed(settings, dataset=dataset, workspace=str(tmp_path / "workspace"))

    @pytest.mark.parametrize("file", ["SegmentationClass/06.png", "JPEGImages/06.jpg"])
    def test_they_give_no_embeddings(
        self, here: Settings, settings: Settings, masks: list[np.ndarray], cached: Embeddings, file: str
    ) -> None:
        run_stages(here, "embed")
        job = find_job(here, "evaluate")
        (voc_folder_of(here) / file).unlink()
        ran = {
            stage: run_stage(job, stage, compute_shards, lambda _: None)
            for stage in ("embed_truth", "evaluate")
        }
        (warning,) = ran["embed_truth"].warnings
        assert warning.startswith(f"{file} gives no embeddings of true regions: ")
        assert ran["embed_truth"].manifest.summary["refused"] == 1
        expected = find_job(settings).checkpoint("embed_truth").array("embedding").rows(0, 17).copy()
        expected[6] = 0
        np.testing.assert_array_equal(job.checkpoint("embed_truth").array("embedding").rows(0, 17), expected)
        found = Results.from_manifest(ran["evaluate"].manifest)
        gone = file.endswith("png")
        assert found.labelled_images == (11 if gone else 12)
        if not gone:  # its true regions count, as background
            left = {place: x for place, x in cached.items() if place[0] != 6 and place[1] != 0}
            check_kmeans(found.of(TrueRegions).kmeans, masks, masks, left)

    def test_a_refused_mask_has_no_true_regions(self, here: Settings) -> None:
        mask = voc_folder_of(here) / "SegmentationClass" / "06.png"
        Image.fromarray(np.full((5, 5), 99, dtype=np.uint8)).save(mask)
        ran = run_stages(here, "evaluate")
        assert ran["embed_truth"].warnings == ()
        assert not find_job(here).checkpoint("embed_truth").array("embedding").rows(6, 7).any()
        assert Results.from_manifest(ran["evaluate"].manifest).labelled_images == 11
