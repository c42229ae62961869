"""Every segmenter in the pipeline: the checkpoints they share, and the regions they write."""

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, jaccard_score, pairwise_distances
from sklearn.preprocessing import normalize

from dcn.datasets import Dataset
from dcn.refinement import guide_side
from dcn.segmenters.spectral import spectral_assignment
from flows.cli.export import export_labels
from flows.errors import EmptyDatasetError
from flows.evaluation.protocols.kmeans import KMeans as KMeansProtocol
from flows.evaluation.results import Results
from flows.execution.plan import find_job
from flows.execution.run import StageResult, compute_shards, run_stage
from flows.inputs.datasets import read_squashed
from flows.inputs.image_index import IndexedImage
from flows.inputs.summaries import SegmentSummary
from flows.settings import Settings
from tests.flows.helpers import MakeSettings, changed, mask_folder_of, photograph_folder_of, run_stages

SEGMENTERS: dict[str, dict[str, Any]] = {
    "dcn": {"name": "dcn"},
    "kmeans": {"name": "kmeans", "num_regions": 3},
    "spectral": {"name": "spectral", "num_regions": 3},
    "ncut": {"name": "ncut", "num_regions": 3},
    "pixels": {"name": "pixels", "num_clusters": 4},
    "modularity": {"name": "modularity", "num_regions": 3},
}
every = pytest.mark.parametrize("name", SEGMENTERS)
rivals = pytest.mark.parametrize("name", [name for name in SEGMENTERS if name != "dcn"])
Runs = dict[str, tuple[Settings, dict[str, StageResult]]]


@pytest.fixture(scope="module")
def runs(tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run all segmenters up to ``evaluate`` in one workspace, in the order above."""
    found = {}
    for name, segmenter in SEGMENTERS.items():
        settings = Settings.model_validate(
            {
                **tiny_config,
                "segment": {"segmenter": segmenter, "refine": False},
                "workspace": str(tmp_path_factory.getbasetemp() / "segmenters"),
            }
        )
        found[name] = settings, run_stages(settings, "evaluate")
    return found


def assignments(settings: Settings) -> np.ndarray:
    return find_job(settings).checkpoint("segment").array("assignment").rows(0, 14)


def tokens(settings: Settings) -> np.ndarray:
    return find_job(settings).checkpoint("extract").array("tokens").rows(0, 14).astype(np.float32)


def exported(settings: Settings, what: Literal["regions", "semantic"], output: Path) -> dict[str, np.ndarray]:
    """Export label maps, and read them back from the files, by id."""
    assert export_labels(settings, what, output) == 14
    paths = sorted(output.rglob("*.png"))
    return {str(path.relative_to(output).with_suffix("")): np.asarray(Image.open(path)) for path in paths}


def test_segmenters_share_features_and_nothing_else(runs: Runs) -> None:
    keys = {name: find_job(settings).keys for name, (settings, _) in runs.items()}
    for stage, distinct in {"index": 1, "extract": 1, "segment": 6, "evaluate": 6, "report": 6}.items():
        assert len({of_run[stage] for of_run in keys.values()}) == distinct
    computed = {
        stage: [name for name, (_, results) in runs.items() if stage in results and not results[stage].reused]
        for stage in ("index", "extract", "train", "segment", "embed", "embed_truth", "evaluate")
    }
    others = [name for name in SEGMENTERS if name != "pixels"]
    assert computed == {
        "index": ["dcn"], "extract": ["dcn"], "train": ["dcn"],
        "segment": list(SEGMENTERS), "embed": others, "embed_truth": ["dcn"],
        "evaluate": list(SEGMENTERS),
    }  # fmt: skip
    workspace = Path(runs["dcn"][0].workspace)
    on_disk = {stage: len([*(workspace / stage).glob("*/manifest.json")]) for stage in computed}
    assert on_disk == {
        "index": 1, "extract": 1, "train": 1, "segment": 6, "embed": 5, "embed_truth": 1, "evaluate": 6
    }  # fmt: skip


@every
def test_a_second_run_computes_nothing(runs: Runs, name: str) -> None:
    assert all(result.reused for result in run_stages(runs[name][0], "evaluate").values())


@rivals
def test_every_token_has_exactly_one_best_region(runs: Runs, name: str) -> None:
    assignment = assignments(runs[name][0])
    assert assignment.shape == (14, 16, SEGMENTERS[name].get("num_regions", 4))
    assert ((assignment == 0).sum(axis=2) == 1).all()
    assert ((assignment >= -1) & (assignment <= 0)).all()
    assert len(np.unique(assignment.argmax(axis=2))) > 1


@every
def test_regions_are_the_upsampled_assignment(runs: Runs, name: str, tmp_path: Path) -> None:
    settings = runs[name][0]
    segment = find_job(settings).checkpoint("segment")
    assignment = torch.from_numpy(assignments(settings).astype(np.float32))
    assert torch.isfinite(assignment).all()
    whole = F.interpolate(assignment.mT.unflatten(2, (4, 4)), (48, 64), mode="bilinear")
    maps = np.stack(list(exported(settings, "regions", tmp_path).values()))
    # Two regions may tie in a pixel up to the last bit, which depends on the version of PyTorch.
    two = whole.topk(2, dim=1).values
    decided = (two[:, 0] - two[:, 1] > 1e-6).numpy()
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(maps[decided], whole.argmax(dim=1).numpy()[decided])
    area, box = segment.array("area").rows(0, 14), segment.array("box").rows(0, 14)
    for row, region in np.ndindex(area.shape):
        inside = np.argwhere(maps[row] == region)
        assert area[row, region] == len(inside)
        expected = [*inside.min(axis=0), *(inside.max(axis=0) + 1)] if len(inside) else [0, 0, 0, 0]
        assert box[row, region].tolist() == expected
    per_image = [len(np.unique(labels)) for labels in maps]
    assert SegmentSummary.of(segment.require()).regions_per_image == pytest.approx(np.mean(per_image))


def test_kmeans_equals_scikit_learn_on_the_cached_tokens(runs: Runs) -> None:
    settings = runs["kmeans"][0]
    for image, assignment in zip(tokens(settings), assignments(settings), strict=True):
        expected = KMeans(3, n_init=1, random_state=0).fit_predict(normalize(image))
        assert adjusted_rand_score(expected, assignment.argmax(axis=1)) == 1


def test_pixel_clusters_are_nearest_centers_and_become_classes(runs: Runs, tmp_path: Path) -> None:
    settings = runs["pixels"][0]
    centers = np.load(Path(find_job(settings).checkpoint("segment").location, "files") / "fitted.npy")
    nearest = pairwise_distances(normalize(tokens(settings).reshape(-1, 192)), centers).argmin(axis=1)
    np.testing.assert_array_equal(assignments(settings).argmax(axis=2).ravel(), nearest)

    clusters = exported(settings, "regions", tmp_path / "regions")
    classes = exported(settings, "semantic", tmp_path / "semantic")
    masks = [np.asarray(Image.open(mask_folder_of(settings) / f"{name}.png")) for name in clusters]
    found, truth = np.stack(list(clusters.values())).ravel(), np.stack(masks).ravel()
    iou = np.array([[jaccard_score(truth == c, found == k) for c in range(3)] for k in range(4)])
    matched = dict(zip(*linear_sum_assignment(-iou), strict=True))
    expected = np.array([matched.get(cluster, 0) for cluster in range(4)])[found]
    np.testing.assert_array_equal(np.stack(list(classes.values())).ravel(), expected)
    kmeans = Results.from_manifest(runs["pixels"][1]["evaluate"].manifest).of(KMeansProtocol)
    assert kmeans.miou == pytest.approx(jaccard_score(truth, expected, average="macro"))
    assert (kmeans.clusters, kmeans.seeds) == (4, 1)


@pytest.mark.parametrize(
    ("name", "sections", "recomputed"),
    [
        ("spectral", {"segment": {"segmenter": {**SEGMENTERS["spectral"], "color_weight": 0.5}}}, ["spectral"]),
        ("spectral", {"segment": {"segmenter": {**SEGMENTERS["spectral"], "border_background": True}}}, ["spectral"]),
        ("ncut", {"segment": {"segmenter": {**SEGMENTERS["ncut"], "num_regions": 2}}}, ["ncut"]),
        ("pixels", {"segment": {"segmenter": {"name": "pixels", "num_clusters": 5}}}, ["pixels"]),
        (None, {"train": {"num_prototypes": 2}}, ["dcn"]),
        (None, {"train": {"resolution": 1.5}}, ["dcn", "modularity"]),
        (None, {"segment": {"region_score": "mean"}}, list(SEGMENTERS)),
        (None, {"segment": {"region_score": "sum"}}, []),
        (None, {"evaluate": {"num_seeds": 2}}, []),
    ],
)  # fmt: skip
def test_a_setting_recomputes_only_the_segmenters_that_use_it(
    runs: Runs, name: str | None, sections: dict[str, dict[str, Any]], recomputed: list[str]
) -> None:
    found = []
    for of, (settings, _) in runs.items():
        before = find_job(settings).keys
        after = find_job(changed(settings, **sections) if name in (None, of) else settings).keys
        assert after["extract"] == before["extract"]
        found.extend([of] if after["segment"] != before["segment"] else [])
    assert found == recomputed


def test_the_color_term_uses_the_colors_of_the_patches(runs: Runs) -> None:
    plain = changed(runs["spectral"][0], backbone={"input_size": 160})
    colored = changed(plain, segment={"segmenter": {**SEGMENTERS["spectral"], "color_weight": 10.0}})
    for settings in (plain, colored):
        run_stages(settings, "segment")
    assert not np.array_equal(assignments(plain), assignments(colored))
    paths = sorted(photograph_folder_of(colored).rglob("*.png"))
    for path, features, found in zip(paths, tokens(colored), assignments(colored), strict=True):
        pixels = np.asarray(Image.open(path).resize((10, 10), Image.Resampling.BICUBIC))
        colors = (pixels.reshape(100, 3) / 255).astype(np.float32)
        expected = spectral_assignment(features, 3, 0, colors, 10.0).argmax(axis=1)
        np.testing.assert_array_equal(found.argmax(axis=1), expected)


class TestMissingPhotographs:
    """Photographs that disappear after ``index``."""

    @staticmethod
    def run(settings: Settings, gone: list[Path], after: str) -> dict[str, StageResult]:
        """Run all stages up to ``evaluate``; delete files after one of them."""
        results = run_stages(settings, after)
        job = find_job(settings, "evaluate")
        for path in gone:
            path.unlink()
        for stage in job.keys:
            results.setdefault(stage, run_stage(job, stage, compute_shards, lambda _: None))
        return results

    @pytest.fixture
    def photographs(self, tmp_path: Path, photograph_folder: Path) -> list[Path]:
        sources = sorted((photograph_folder / "photos").rglob("*.png"))[:4]
        (tmp_path / "photos").mkdir()
        return [Path(shutil.copy(path, tmp_path / "photos")) for path in sources]

    def make(
        self, make: MakeSettings, photographs: list[Path], refine: bool = False, **segmenter: object
    ) -> Settings:
        dataset = {"root": str(photographs[0].parent), "masks": None, "classes": None}
        return make(dataset=dataset, segment={"segmenter": segmenter, "refine": refine})

    @pytest.mark.parametrize(("color_weight", "refine"), [(1.0, False), (0.0, True), (1.0, True)])
    def test_one_is_left_out_where_its_colors_are_needed(
        self, tiny_settings: MakeSettings, photographs: list[Path], color_weight: float, refine: bool
    ) -> None:
        settings = self.make(
            tiny_settings, photographs, refine, name="spectral", num_regions=2, color_weight=color_weight
        )
        results = self.run(settings, photographs[:1], "extract")
        assert SegmentSummary.of(results["segment"].manifest).images == 3
        assert Results.from_manifest(results["evaluate"].manifest).images == 3
        (warning,) = results["segment"].warnings
        assert warning.startswith(
            f"{photographs[0].name} was left out: it cannot be read any more: No such file"
        )

    def test_one_that_disappears_after_its_colors_were_read_shifts_no_colors(
        self, tiny_settings: MakeSettings, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = self.make(
            tiny_settings, photographs, True, name="spectral", num_regions=3, color_weight=10.0
        )
        run_stages(settings, "segment")
        before = find_job(settings).checkpoint("segment")
        whole = before.array("assignment").rows(0, 4)
        before.delete()

        def read_then_lose(dataset: Dataset, size: int, image: IndexedImage) -> Any:
            if size == guide_side(16):
                photographs[0].unlink(missing_ok=True)
            return read_squashed(dataset, size, image)

        monkeypatch.setattr("flows.stages.segment.read_squashed", read_then_lose)
        job = find_job(settings, "segment")  # with the key of the data set before the loss
        run_stage(job, "segment", compute_shards, lambda _: None)
        found = job.checkpoint("segment").array("assignment").rows(0, 4)
        assert not found[0].any()
        np.testing.assert_array_equal(found[1:], whole[1:])

    @pytest.mark.parametrize(("segmenter", "after"), [("kmeans", "index"), ("spectral", "extract")])
    def test_without_any_photograph_segmentation_is_an_error(
        self, tiny_settings: MakeSettings, photographs: list[Path], segmenter: str, after: str
    ) -> None:
        color: dict[str, Any] = {"color_weight": 1.0} if segmenter == "spectral" else {}
        settings = self.make(tiny_settings, photographs, name=segmenter, num_regions=2, **color)
        with pytest.raises(EmptyDatasetError, match="no photograph could be segmented"):
            self.run(settings, photographs, after)
