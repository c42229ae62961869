"""Every metric of ``results.json`` recomputed from files and cached arrays, and the effect of bad input."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import confusion_matrix
from sklearn.preprocessing import normalize
from torchmetrics.functional import accuracy, jaccard_index

from dcn.datasets import VOC2012Options
from dcn.evaluation.metrics import ClassificationMetrics
from dcn.evaluation.protocols import ForegroundMetrics
from flows.cli.export import export_labels
from flows.errors import FlowError
from flows.evaluation.protocols.angles import AngleMetrics, AnglePair, Angles
from flows.evaluation.protocols.foreground import Foreground, ForegroundVariants
from flows.evaluation.protocols.kmeans import KMeans as KMeansProtocol
from flows.evaluation.protocols.knn import KNN
from flows.evaluation.protocols.modularity import Modularity
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import Results
from flows.execution.plan import find_job
from flows.execution.run import StageResult, compute_shards, run_stage
from flows.inputs.summaries import IndexSummary
from flows.report.contact_sheet import contact_sheet
from flows.settings import Settings
from flows.stage import Job
from tests.conftest import draw_scene
from tests.flows.helpers import MakeSettings, changed, run_stages

BUS, CAR, CAT, PERSON, VOID = 6, 7, 8, 15, 255
CLASSES = (0, BUS, CAR, CAT, PERSON)
SPLITS = {"train": range(5), "val": range(5, 17)}
StageResults = dict[str, StageResult]
Broken = tuple[Settings, StageResults]


def write_voc(root: Path) -> Path:
    """Photographs of four classes in the layout of VOC 2012, of several sizes, their masks with a void frame."""
    folder = root / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for split, seeds in SPLITS.items():
        for seed in seeds:
            pixels, mask = draw_scene(seed, 40 + 2 * seed, 64 - seed)
            mask = np.array([0, BUS + seed % 3, PERSON], dtype=np.uint8)[mask]
            mask[[0, 1, -1]], mask[:, [0, -1]] = VOID, VOID
            Image.fromarray(pixels).save(folder / "JPEGImages" / f"{seed:02d}.jpg")
            Image.fromarray(mask).save(folder / "SegmentationClass" / f"{seed:02d}.png")
        names = "\n".join(f"{seed:02d}" for seed in seeds)
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names)
    return root


def voc_folder_of(settings: Settings) -> Path:
    """The folder of VOC 2012 in the data set of these settings."""
    assert isinstance(settings.dataset, VOC2012Options)
    return settings.dataset.root / "VOCdevkit" / "VOC2012"


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def settings(voc: Path, tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.model_validate(
        {
            **tiny_config,
            "dataset": {"name": "voc2012", "root": str(voc)},
            "segment": {"segmenter": {"name": "kmeans", "num_regions": 4}},
            "evaluate": {"num_seeds": 3, "num_clusters": 6, "attainable_images": 0},
            "workspace": str(tmp_path_factory.mktemp("evaluation") / "workspace"),
        }
    )


class Finished:
    """The output of a run: metrics, arrays by row, and maps of the evaluated photographs as one line of pixels."""

    def __init__(self, settings: Settings, output: Path) -> None:
        job = find_job(settings)
        self.results = Results.from_json(json.loads(job.checkpoint("evaluate").read_file("results.json")))
        count = IndexSummary.read(job).images

        def read(stage: str, name: str) -> np.ndarray:
            return job.checkpoint(stage).array(name).rows(0, count)

        self.tokens = read("extract", "tokens").astype(np.float64)
        self.attention = read("extract", "attention").astype(np.float32)
        self.area, self.foreground = read("segment", "area"), read("segment", "foreground")
        self.embedding = read("embed", "embedding").astype(np.float64)
        self.embedded = np.isfinite(self.embedding).all(axis=2)
        for what in ("regions", "semantic"):
            export_labels(settings, what, output / what)
        masks = voc_folder_of(settings) / "SegmentationClass"
        self.maps = [np.asarray(Image.open(output / "regions" / f"{row:02d}.png")) for row in range(count)]
        self.masks = [np.asarray(Image.open(masks / f"{row:02d}.png")) for row in range(count)]
        self.evaluated = np.array(SPLITS["val"])
        self.semantic = self.pixels(
            [np.asarray(Image.open(output / "semantic" / f"{row:02d}.png")) for row in self.evaluated]
        )
        self.truth = self.pixels([self.masks[row] for row in self.evaluated])

    @staticmethod
    def pixels(maps: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([labels.ravel() for labels in maps]).astype(np.int64)

    def painted(self, values: np.ndarray) -> np.ndarray:
        """Pixels of the evaluated photographs by a value of each region, ``[N, k]``."""
        return self.pixels([values[row][self.maps[row]] for row in self.evaluated])

    def check(self, metrics: ClassificationMetrics, predicted: np.ndarray) -> None:
        """Metrics equal those of torchmetrics on these pixels."""
        shown, truth = torch.from_numpy(predicted), torch.from_numpy(self.truth)
        iou = jaccard_index(
            shown, truth, "multiclass", num_classes=21, average="none", ignore_index=VOID
        ).numpy()
        expected = {label: pytest.approx(iou[label], abs=1e-6) for label in CLASSES}
        assert metrics.class_iou == [expected.get(label) for label in range(21)]
        assert metrics.miou == pytest.approx(np.mean([iou[label] for label in expected]), abs=1e-6)
        share = accuracy(shown, truth, "multiclass", num_classes=21, average="micro", ignore_index=VOID)
        assert metrics.accuracy == pytest.approx(share.item(), abs=1e-6)

    def majority(self, row: int, region: int) -> int:
        """Most frequent class of a region, -1 where it is all void."""
        labels = self.masks[row][self.maps[row] == region]
        labels = labels[labels != VOID]
        return int(np.bincount(labels).argmax()) if len(labels) else -1


@pytest.fixture(scope="module")
def results(settings: Settings) -> StageResults:
    return run_stages(settings)


@pytest.fixture(scope="module")
def broken(settings: Settings, results: StageResults) -> Broken:
    """The same run, but the embeddings of a training photograph and of two evaluated ones are not finite."""
    here = changed(settings, workspace=str(Path(settings.workspace).with_name("broken")))
    for stage in ("index", "extract", "segment", "embed"):
        shutil.copytree(Path(settings.workspace, stage), Path(here.workspace, stage))
    embed = find_job(here).checkpoint("embed")
    embedding = embed.array("embedding").rows(4, 8).copy()
    embedding[0], embedding[1, :, 3], embedding[2, :, 0] = np.nan, np.inf, -np.inf
    embed.write_shard(embed.require(), 1, {"embedding": embedding}, embed.read_record(1).info, 0.0)
    return here, run_stages(here)


@pytest.fixture(scope="module", params=["whole", "not finite"])
def finished(
    request: pytest.FixtureRequest,
    settings: Settings,
    broken: Broken,
    tmp_path_factory: pytest.TempPathFactory,
) -> Finished:
    chosen = settings if request.param == "whole" else broken[0]
    return Finished(chosen, tmp_path_factory.mktemp("exported"))


def test_the_upper_bound(finished: Finished) -> None:
    best = np.array([[max(finished.majority(row, r), 0) for r in range(4)] for row in range(17)])
    finished.check(finished.results.of(UpperBound), finished.painted(best))


def test_kmeans(finished: Finished) -> None:
    evaluated = (np.arange(17) >= 5)[:, None]
    rows, regions = np.nonzero(finished.foreground & finished.embedded & evaluated)
    unit = normalize(finished.embedding[rows, regions].astype(np.float32))
    runs, miou, share = [], [], []
    counted = finished.truth != VOID
    for seed in range(3):
        model = KMeans(6, n_init=1, random_state=seed).fit(unit)
        clusters = np.zeros((17, 4), dtype=np.int64)
        clusters[rows, regions] = model.labels_ + 1
        painted = finished.painted(clusters)
        shared = confusion_matrix(painted[counted], finished.truth[counted], labels=range(21))
        union = shared.sum(axis=0) + shared.sum(axis=1)[:, None] - shared
        matched = dict(zip(*linear_sum_assignment(-shared / union.clip(min=1)), strict=True))
        predicted = np.array([matched[cluster] for cluster in range(7)])[painted]
        hits = [
            ((predicted == c) & (finished.truth == c)).sum()
            / (((predicted == c) | (finished.truth == c)) & counted).sum()
            for c in CLASSES
        ]
        miou.append(np.mean(hits))
        share.append((predicted == finished.truth)[counted].mean())
        runs.append((model.inertia_, seed, predicted))
    found = finished.results.of(KMeansProtocol)
    for name, values in (("miou", miou), ("accuracy", share)):
        assert getattr(found, name) == pytest.approx(np.mean(values))
        assert getattr(found, f"{name}_deviation") == pytest.approx(np.std(values))
    _, seed, predicted = min(runs)
    assert (found.shown_seed, found.clusters, found.seeds) == (seed, 6, 3)
    np.testing.assert_array_equal(finished.semantic, predicted)
    shown = ClassificationMetrics(
        miou=miou[seed], accuracy=share[seed], class_iou=found.class_iou, confusion=found.confusion
    )
    finished.check(shown, predicted)


def test_neighbors_are_regions_of_the_training_split(finished: Finished) -> None:
    occurring = np.argwhere((finished.area > 0) & finished.embedded)
    bank = [(row, r, finished.majority(row, r)) for row, r in occurring if row < 5]
    bank = [entry for entry in bank if entry[2] >= 0]
    known = normalize(np.stack([finished.embedding[row, r] for row, r, _ in bank]))
    for k in (1, 3, 5, 10):
        classes = np.zeros((17, 4), dtype=np.int64)
        for row, region in occurring:
            embedding = finished.embedding[row, region]
            cosines = known @ embedding / np.linalg.norm(embedding)
            votes = dict.fromkeys(CLASSES, 0.0)
            for neighbor in np.argsort(-cosines)[:k]:
                votes[bank[neighbor][2]] += max(cosines[neighbor], 0)
            classes[row, region] = max(votes, key=lambda label: votes[label])
        finished.check(finished.results.of(KNN).root[k], finished.painted(classes))


def test_foreground(finished: Finished) -> None:
    """By all six rules, each with 2-means of scikit-learn."""
    objects, counted = finished.truth > 0, finished.truth != VOID

    def check(metrics: ForegroundMetrics, foreground: np.ndarray) -> None:
        found = finished.painted(foreground).astype(bool)
        iou = (found & objects & counted).sum() / ((found | objects) & counted).sum()
        assert metrics.iou == pytest.approx(iou)
        assert metrics.accuracy == pytest.approx((found == objects)[counted].mean())

    check(finished.results.of(Foreground), finished.foreground)
    for reduction, score in [(r, s) for r in ("max", "mean", "min") for s in ("sum", "mean")]:
        foreground = np.zeros((17, 4), dtype=bool)
        for row in finished.evaluated:
            heads = getattr(finished.attention[row], reduction)(axis=0).reshape(1, 1, 4, 4)
            labels = finished.maps[row]
            pixels = F.interpolate(torch.from_numpy(heads), labels.shape, mode="bilinear")[0, 0].numpy()
            regions = np.unique(labels)
            scores = np.array([[getattr(pixels[labels == r].astype(float), score)()] for r in regions])
            split = KMeans(2, n_init=20, random_state=0).fit(scores) if len(regions) > 1 else None
            high = split.labels_ == split.cluster_centers_.argmax() if split else [True]
            foreground[row, regions] = high
        variant = f"{reduction} over heads, {score} over pixels, two-means"
        check(finished.results.of(ForegroundVariants).root[variant], foreground)
    default = finished.results.of(ForegroundVariants).root["max over heads, sum over pixels, two-means"]
    assert default == finished.results.of(Foreground)


def test_angles_that_are_not_defined_have_no_degree_sign() -> None:
    pairs = AnglePair(intra_class=None, inter_class=None), AnglePair(intra_class=12.34, inter_class=None)
    shown = [
        headline.value
        for headline in Angles().headline(AngleMetrics(single_images=pairs[0], data_set=pairs[1]))
    ]
    assert shown == ["not defined / not defined", "12.3° / not defined"]


def test_angles(finished: Finished) -> None:
    def angle(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.degrees(np.arccos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1))))

    def angles(unit: np.ndarray, classes: np.ndarray) -> tuple[float, float]:
        centers = {
            label: unit[classes == label].mean(axis=0) for label in np.unique(classes) if label != VOID
        }
        intra = [angle(x, centers[c]) for x, c in zip(unit, classes, strict=True) if c != VOID]
        inter = [
            min([angle(x, y) for y in centers.values() if y is not x], default=np.nan)
            for x in centers.values()
        ]
        return float(np.mean(intra)), float(np.mean(inter))

    unit, classes = [], []
    for row in finished.evaluated:
        mask = finished.masks[row]
        patch = [np.floor((np.arange(size) + 0.5) / size * 4).astype(int) for size in mask.shape]
        of_patch = patch[0][:, None] * 4 + patch[1]
        classes.append(np.array([np.bincount(mask[of_patch == p]).argmax() for p in range(16)]))
        unit.append(normalize(finished.tokens[row]))
    single = np.array([angles(*pair) for pair in zip(unit, classes, strict=True)])
    whole = angles(np.concatenate(unit), np.concatenate(classes))
    found = finished.results.of(Angles)
    for metrics, (intra, inter) in (
        (found.single_images, np.nanmean(single, axis=0)),
        (found.data_set, whole),
    ):
        assert metrics.intra_class == pytest.approx(intra, abs=1e-3)
        assert metrics.inter_class == pytest.approx(inter, abs=1e-3)


def test_embeddings_that_are_not_finite_are_counted(broken: Broken) -> None:
    here, results = broken
    lost = int((find_job(here).checkpoint("segment").array("area").rows(5, 7) > 0).sum())
    assert lost >= 2
    assert f"{lost} regions have no embedding" in "\n".join(results["evaluate"].warnings)
    assert Results.from_manifest(results["evaluate"].manifest).regions_without_embedding == lost
    assert "report" in results


class TestBadInput:
    """The table at the end of docs/how-it-works/evaluation.md."""

    @pytest.fixture
    def make(self, settings: Settings, tmp_path: Path) -> MakeSettings:
        """Settings of a data set and a workspace of the test's own."""

        def changed_here(**sections: object) -> Settings:
            dataset = {"root": str(write_voc(tmp_path / "voc"))}
            return changed(settings, dataset=dataset, workspace=str(tmp_path / "workspace"), **sections)

        return changed_here

    @staticmethod
    def file(settings: Settings, kind: str, seed: int) -> Path:
        folder, suffix = ("SegmentationClass", "png") if kind == "mask" else ("JPEGImages", "jpg")
        return voc_folder_of(settings) / folder / f"{seed:02d}.{suffix}"

    @staticmethod
    def run(
        settings: Settings, meanwhile: Callable[[], object], after: str, last: str | None = None
    ) -> tuple[Job, dict[str, StageResult]]:
        """All stages up to the last; something happens to the data set after one of them."""
        results = run_stages(settings, after)
        job = find_job(settings, last)
        meanwhile()
        for stage in job.keys:
            results.setdefault(stage, run_stage(job, stage, compute_shards, lambda _: None))
        return job, results

    @staticmethod
    def page(settings: Settings) -> str:
        return find_job(settings).checkpoint("report").read_file("report.html").decode()

    def test_no_labelled_training_photograph(self, make: MakeSettings) -> None:
        settings = make()
        for seed in SPLITS["train"]:
            self.file(settings, "mask", seed).unlink()
        results = run_stages(settings)["evaluate"]
        assert results.warnings == ("k-NN has no metrics: no photograph of the split train has ground truth",)
        found = Results.from_manifest(results.manifest)
        assert found.of(KNN).root == {}
        assert found.labelled_images == 12
        miou = found.of(KMeansProtocol).miou
        assert miou is not None
        assert 0 < miou < 1
        page = self.page(settings)
        assert "k-NN, k =" not in page
        assert results.warnings[0] in page

    def test_no_labelled_evaluated_photograph(self, make: MakeSettings) -> None:
        settings = make()
        for seed in SPLITS["val"]:
            self.file(settings, "mask", seed).unlink()
        results = run_stages(settings)["evaluate"]
        assert results.warnings == ()
        found = Results.from_manifest(results.manifest)
        assert found.of(KMeansProtocol).model_fields_set == {"clusters", "seeds", "shown_seed"}
        assert found.of(KMeansProtocol).clusters == 6
        assert list(found.sections) == ["segmentation", "label_free", "kmeans"]
        assert set(found.to_json()) == {"split", "images", "labelled_images", *found.sections}
        with pytest.raises(
            FlowError, match="the results have no section upper_bound: .*segmentation, label_free, kmeans"
        ):
            found.of(UpperBound)
        assert "of the foreground regions" in self.page(settings)

    @pytest.mark.usefixtures("results")
    def test_fewer_regions_than_clusters(self, settings: Settings) -> None:
        result = run_stages(changed(settings, evaluate={"num_clusters": 100}), "evaluate")["evaluate"]
        job = find_job(settings)
        foreground = job.checkpoint("segment").array("foreground").rows(5, 17)
        embedding = job.checkpoint("embed").array("embedding").rows(5, 17)[foreground]
        count = len(np.unique(embedding, axis=0))
        assert count == foreground.sum() < 100
        assert Results.from_manifest(result.manifest).of(KMeansProtocol).clusters == count
        assert result.warnings == (
            f"k-means has {count} clusters instead of 100: there are only {count} foreground regions",
        )

    @pytest.mark.usefixtures("results")
    def test_a_photograph_of_one_region_is_foreground(self, settings: Settings) -> None:
        here = changed(settings, segment={"segmenter": {"name": "kmeans", "num_regions": 1}})
        found = Results.from_manifest(run_stages(here)["evaluate"].manifest)
        assert find_job(here).checkpoint("segment").array("foreground").rows(0, 17).all()
        truth = np.concatenate(
            [np.asarray(Image.open(self.file(settings, "mask", s))).ravel() for s in SPLITS["val"]]
        )
        objects = (truth != VOID) & (truth > 0)
        assert found.of(Foreground).iou == pytest.approx(objects.sum() / (truth != VOID).sum())
        assert found.of(Modularity).regions_per_image == 1

    @pytest.mark.usefixtures("results")
    def test_without_foreground_everything_is_background(self, settings: Settings, tmp_path: Path) -> None:
        rule = {"name": "spectral", "num_regions": 1, "border_background": True}
        here = changed(settings, segment={"segmenter": rule})
        result = run_stages(here)["evaluate"]
        assert not find_job(here).checkpoint("segment").array("foreground").rows(0, 17).any()
        assert result.warnings == (
            "k-means has 0 clusters instead of 6: there are only 0 foreground regions",
        )
        assert Results.from_manifest(result.manifest).of(Foreground).iou == 0
        assert export_labels(here, "semantic", tmp_path) == 12
        assert all(not np.asarray(Image.open(path)).any() for path in tmp_path.glob("*.png"))

    def test_a_photograph_that_is_gone_when_it_is_embedded(self, make: MakeSettings) -> None:
        settings = make()
        job, results = self.run(settings, self.file(settings, "photograph", 5).unlink, "segment")
        (warning,) = results["embed"].warnings
        assert warning.startswith("JPEGImages/05.jpg has no embeddings: it cannot be read any more")
        count = (job.checkpoint("segment").array("area").rows(5, 6) > 0).sum()
        (warning,) = results["evaluate"].warnings
        assert warning.startswith(f"{count} regions have no embedding (the photograph could not be read")
        assert Results.from_manifest(results["evaluate"].manifest).labelled_images == 12
        (warning,) = results["report"].warnings
        assert warning.startswith("JPEGImages/05.jpg is not shown: it cannot be read any more")
        content = contact_sheet(job, 8, semantic=True)
        assert content is not None
        # Five pictures of each of seven photographs, which are between 0.8 and 1.25 times as high as wide.
        sheet = Image.open(io.BytesIO(content))
        assert sheet.width == 5 * 206 + 6
        assert 7 * 160 < sheet.height < 7 * 256 + 100

    @pytest.mark.parametrize("change", ["gone", "another", "broken"])
    def test_a_mask_that_is_gone_or_another_after_index(self, make: MakeSettings, change: str) -> None:
        settings = make()
        mask = self.file(settings, "mask", 6)

        def meanwhile() -> None:
            if change == "gone":
                mask.unlink()
            elif change == "another":
                Image.fromarray(np.full_like(np.asarray(Image.open(mask)), PERSON)).save(mask)
            else:
                mask.write_bytes(b"no")

        _, results = self.run(settings, meanwhile, "index", "evaluate")
        assert len(results["evaluate"].warnings) == 1
        assert results["evaluate"].warnings[0].startswith("SegmentationClass/06.png gives no ground truth: ")
        assert Results.from_manifest(results["evaluate"].manifest).labelled_images == 11
