"""BSDS500 through the pipeline: its region metrics recomputed, and ground truth that is broken or changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.ndimage import distance_transform_edt
from scipy.stats import spearmanr
from skimage.metrics import variation_of_information
from sklearn.metrics import rand_score

from flows.cli.export import export_labels
from flows.evaluation.protocols.annotators import Annotators
from flows.evaluation.results import Results
from flows.execution.plan import find_job
from flows.execution.run import StageResult, compute_shards, run_stage
from flows.inputs.summaries import IndexSummary
from flows.settings import Settings
from tests.conftest import draw_scene
from tests.flows.helpers import changed, run_stages

SPLITS = {"train": (1, 2, 3), "test": (4, 5, 6, 7, 8)}
NAMES = (
    "covering",
    "rand_index",
    "variation_of_information",
    "boundary_f",
    "annotated_regions_per_image",
    "region_correlation",
)
INTERVALS = ("covering_interval", "boundary_f_interval", "region_correlation_interval")


def truth_file(root: Path, seed: int) -> Path:
    split = "train" if seed in SPLITS["train"] else "test"
    return root / "BSR" / "BSDS500" / "data" / "groundTruth" / split / f"{seed}.mat"


def save_truth(path: Path, segmentations: list[np.ndarray]) -> None:
    cells = np.empty((1, len(segmentations)), dtype=object)
    for i, segmentation in enumerate(segmentations):
        cells[0, i] = {"Segmentation": segmentation, "Boundaries": segmentation > 1}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells}, do_compression=True)


def annotators(mask: np.ndarray) -> list[np.ndarray]:
    """Three people: one draws what is there, one halves the photograph, one does both and leaves a frame out."""
    drawn = (mask + 1).astype(np.uint16)
    halves = np.ones_like(drawn)
    halves[:, 30:] = 2
    both = (drawn + 3 * (halves - 1)).astype(np.uint16)
    both[:4], both[:, :4] = 0, 0
    return [drawn, halves, both]


@pytest.fixture
def bsds(tmp_path: Path) -> Path:
    root = tmp_path / "bsds"
    for split, seeds in SPLITS.items():
        folder = root / "BSR" / "BSDS500" / "data" / "images" / split
        folder.mkdir(parents=True)
        for seed in seeds:
            pixels, mask = draw_scene(seed, 40 + seed, 60)
            Image.fromarray(pixels).save(folder / f"{seed}.jpg")
            save_truth(truth_file(root, seed), annotators(mask)[: 2 + seed % 2])
    return root


def make_settings(config: dict[str, Any], root: Path, **segmenter: Any) -> Settings:
    return Settings.model_validate(
        {
            **config,
            "dataset": {"name": "bsds500", "root": str(root)},
            "segment": {"segmenter": segmenter or {"name": "kmeans", "num_regions": 4}},
            "evaluate": {"num_seeds": 2, "num_clusters": 3, "attainable_images": 0},
            "workspace": str(root.parent / "workspace"),
        }
    )


def exported(settings: Settings) -> Path:
    """Folder of the label maps of all photographs."""
    output = Path(settings.workspace, "regions")
    assert export_labels(settings, "regions", output) == 8
    return output


def recomputed(root: Path, seeds: tuple[int, ...], maps: Path) -> dict[str, float | None]:
    """The metrics of these photographs, averaged, from exported regions and the files of MATLAB."""
    scores: list[list[float]] = []
    numbers: list[tuple[int, float]] = []
    for seed in seeds:
        regions = np.asarray(Image.open(maps / "test" / f"{seed}.png"))
        cells = loadmat(truth_file(root, seed))["groundTruth"].ravel()
        drawn = [cell["Segmentation"].item() for cell in cells]
        covered = area = 0.0
        for segmentation in drawn:
            counted = segmentation > 0
            for label in np.unique(segmentation[counted]):
                one = segmentation == label
                others = [(regions == r) & counted for r in np.unique(regions)]
                covered += one.sum() * max((one & other).sum() / (one | other).sum() for other in others)
                area += one.sum()
        pairs = [(segmentation[segmentation > 0], regions[segmentation > 0]) for segmentation in drawn]
        rand = np.mean([rand_score(*pair) for pair in pairs])
        variation = np.mean([sum(variation_of_information(*pair)) for pair in pairs])
        boundary = np.mean([boundary_f(segmentation, regions) for segmentation in drawn])
        annotated = float(np.mean([len(set(segmentation[segmentation > 0])) for segmentation in drawn]))
        scores.append([covered / area, *map(float, (rand, variation, boundary)), annotated])
        numbers.append((len(np.unique(regions)), annotated))
    found, true = zip(*numbers, strict=True)
    constant = len(set(found)) == 1 or len(set(true)) == 1
    rho = None if constant else spearmanr(found, true).statistic
    return dict(zip(NAMES, [*np.mean(scores, axis=0).tolist(), rho], strict=True))


def boundary_f(segmentation: np.ndarray, regions: np.ndarray) -> float:
    """F of the boundaries by the distance transform of SciPy, with unlabelled pixels as the nearest labelled one."""
    nearest = distance_transform_edt(segmentation == 0, return_distances=False, return_indices=True)
    lines = []
    for labels in (regions, segmentation[tuple(nearest)]):
        line = np.zeros(labels.shape, bool)
        line[:, :-1] |= labels[:, 1:] != labels[:, :-1]
        line[:-1] |= labels[1:] != labels[:-1]
        lines.append(line)
    tolerance = 0.0075 * np.hypot(*regions.shape)
    precision, recall = (
        (distance_transform_edt(~other)[line] <= tolerance).mean() for line, other in (lines, reversed(lines))
    )
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def check(result: StageResult, expected: dict[str, float | None]) -> None:
    metrics = Results.from_manifest(result.manifest).of(Annotators)
    assert metrics.model_dump(exclude=set(INTERVALS)) == pytest.approx(expected, abs=1e-6)
    for value, interval in (
        (metrics.covering, metrics.covering_interval),
        (metrics.boundary_f, metrics.boundary_f_interval),
    ):
        assert value is not None
        assert interval is not None
        assert interval.low <= value <= interval.high
    assert metrics.covering is not None
    assert metrics.rand_index is not None
    assert 0 < metrics.covering < 1
    assert 0 < metrics.rand_index < 1


@pytest.mark.parametrize("segmenter", ["dcn", "spectral"])
def test_region_metrics_are_those_of_other_libraries(
    tiny_config: dict[str, Any], bsds: Path, segmenter: str
) -> None:
    regions = {"num_regions": 3} if segmenter == "spectral" else {}
    settings = make_settings(tiny_config, bsds, name=segmenter, **regions)
    results = run_stages(settings)
    check(results["evaluate"], recomputed(bsds, SPLITS["test"], exported(settings)))
    found = Results.from_manifest(results["evaluate"].manifest)
    assert (found.split, found.images, found.labelled_images) == ("test", 5, 0)
    assert list(found.sections) == ["segmentation", "label_free", "annotators", "kmeans"]
    assert not any(result.warnings for result in results.values())
    page = find_job(settings).checkpoint("report").read_file("report.html").decode()
    assert "probabilistic Rand index" in page
    assert f"{found.of(Annotators).covering:.3f}" in page
    assert 'alt="regions against annotated regions"' in page
    assert all(result.reused for result in run_stages(settings).values())


def test_broken_ground_truth_is_refused_and_in_no_mean(tiny_config: dict[str, Any], bsds: Path) -> None:
    truth_file(bsds, 4).write_bytes(b"no MAT file" * 30)
    truth_file(bsds, 5).unlink()
    save_truth(truth_file(bsds, 6), [np.ones((7, 7), np.uint16)])
    settings = make_settings(tiny_config, bsds)
    results = run_stages(settings)
    summary = IndexSummary.of(results["index"].manifest)
    assert (summary.images, summary.labelled, summary.refused) == (8, 5, 3)
    warnings = results["index"].warnings
    for name, reason in (
        ("4", "cannot be read as a MAT file"),
        ("5", "there is no"),
        ("6", "of shape (7, 7)"),
    ):
        (warning,) = [
            warning for warning in warnings if warning.startswith(f"test/{name} was refused: mask: ")
        ]
        assert reason in warning
    assert Results.from_manifest(results["evaluate"].manifest).images == 5
    check(results["evaluate"], recomputed(bsds, (7, 8), exported(settings)))


def test_without_any_ground_truth_the_metrics_are_not_defined(
    tiny_config: dict[str, Any], bsds: Path
) -> None:
    for seed in SPLITS["test"]:
        truth_file(bsds, seed).unlink()
    settings = make_settings(tiny_config, bsds)
    metrics = Results.from_manifest(run_stages(settings)["evaluate"].manifest).of(Annotators)
    assert metrics.model_dump() == dict.fromkeys((*NAMES, *INTERVALS))
    page = find_job(settings).checkpoint("report").read_file("report.html").decode()
    assert "not defined" in page


def test_ground_truth_that_changes_within_a_run_counts_nowhere(
    tiny_config: dict[str, Any], bsds: Path
) -> None:
    settings = make_settings(tiny_config, bsds)
    run_stages(settings, "embed")
    job, maps = find_job(settings), exported(settings)
    save_truth(truth_file(bsds, 5), [np.ones((45, 60), np.uint16)])
    truth_file(bsds, 6).unlink()
    result = run_stage(job, "evaluate", compute_shards, lambda _: None)
    changed, gone = result.warnings
    assert changed.startswith("test/5 gives no ground truth: it was changed after it was indexed")
    assert gone.startswith("test/6 gives no ground truth: there is no")
    check(result, recomputed(bsds, (4, 7, 8), maps))


def test_ground_truth_that_changes_between_runs_is_measured_anew(
    tiny_config: dict[str, Any], bsds: Path
) -> None:
    settings = make_settings(tiny_config, bsds)
    before = Results.from_manifest(run_stages(settings, "evaluate")["evaluate"].manifest)
    halves = np.ones((45, 60), np.uint16)
    halves[:22] = 2
    save_truth(truth_file(bsds, 5), [halves])
    results = run_stages(settings, "evaluate")
    assert not results["index"].reused
    check(results["evaluate"], recomputed(bsds, SPLITS["test"], exported(settings)))
    after = Results.from_manifest(results["evaluate"].manifest)
    assert after.of(Annotators).covering != before.of(Annotators).covering


def test_swapped_splits_share_nothing_but_the_photographs(bsds: Path, tiny_config: dict[str, Any]) -> None:
    keys = []
    for train, evaluated in (("train", "test"), ("test", "train")):
        settings = make_settings(tiny_config, bsds)
        dataset = {"train_split": train, "evaluate_split": evaluated}
        settings = changed(settings, dataset=dataset)
        run_stages(settings, "index")
        keys.append(find_job(settings).keys)
    assert all(keys[0][stage] != keys[1][stage] for stage in ("index", "segment", "evaluate"))
