"""Stage ``distill``: what it learns from, that it reads no label, what it repeats after an interruption."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from torch import Tensor

from dcn.distillation import HeadTrainer
from dcn.errors import InvalidOptionError
from dcn.model import Model
from dcn.whitening import TokenWhitening
from flows.errors import InvalidSettingsError
from flows.evaluation.protocols.distilled import Distilled
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.region_table import read_regions
from flows.evaluation.results import read_results
from flows.execution.plan import STAGES, find_job, states
from flows.inputs.class_head import patch_clusters
from flows.inputs.image_index import open_index
from flows.inputs.summaries import DistillSummary
from flows.library.run_model import model_of_run, model_of_training
from flows.settings import Settings
from flows.stages.distill.region_classes import find_region_classes
from storage import Manifest
from tests.flows.helpers import changed, photograph_folder_of, run_stages, without_truth

# A check after each iteration, the state saved after each, two layers of which one is cached by extract.
DISTILL = {
    "rounds": 2,
    "layers": [-2, -1],
    "iterations": 8,
    "batch_size": 4,
    "check_every": 1,
    "patience": None,
}


class InterruptionError(Exception):
    """What ends a distillation in the middle."""


@pytest.fixture(scope="module")
def distilled(finished: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The finished pipeline with a head of two rounds, run to the evaluation. Tests only read it."""
    workspace = tmp_path_factory.mktemp("distilled") / "w"
    shutil.copytree(finished.workspace, workspace)
    settings = changed(finished, workspace=str(workspace), distill=DISTILL)
    run_stages(settings, "evaluate")
    return settings


@pytest.fixture
def mine(distilled: Settings, tmp_path: Path) -> Settings:
    """A copy of it that the test may change."""
    shutil.copytree(distilled.workspace, tmp_path / "w")
    return changed(distilled, workspace=str(tmp_path / "w"))


def files_of(settings: Settings) -> dict[str, bytes]:
    folder = Path(find_job(settings).checkpoint("distill").location) / "files"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def complete(settings: Settings) -> list[str]:
    return [state.stage for state in states(settings) if state.state == "complete"]


def test_without_rounds_nothing_is_computed_and_no_key_changes(finished: Settings) -> None:
    settings = changed(finished, distill={"layers": [-2], "depth": 3, "seed": 7})
    assert find_job(settings).keys == find_job(finished).keys
    assert not {"distill", "token_layers"} & find_job(settings).keys.keys()
    assert "distilled" not in STAGES["evaluate"].settings(finished.resolve())["protocols"]


def test_the_array_of_the_protocol_has_a_name_of_its_own(distilled: Settings) -> None:
    names = [spec.name for spec in find_job(distilled).checkpoint("evaluate").require().arrays]
    assert names.count("distilled_overlap") == 1
    assert len(set(names)) == len(names)


def test_a_head_leaves_the_stages_before_it_as_they_are(distilled: Settings, finished: Settings) -> None:
    before, after = find_job(finished).keys, find_job(distilled).keys
    assert {name for name in before if before[name] != after[name]} == {"evaluate", "report"}
    kept = [name for name in after if name not in ("distill", "evaluate", "report")]
    for section, value, reused in (
        ("distill", {"left_out": 0.3}, kept),
        ("evaluate", {"num_clusters": 1}, kept),
        ("evaluate", {"attainable_images": 1}, [*kept, "distill"]),
        ("train", {"save_seconds": 9}, [*kept, "distill", "evaluate"]),
    ):
        assert sorted(complete(changed(distilled, **{section: value}))) == sorted(reused)


def test_the_confident_regions_are_those_nearest_to_their_centers(distilled: Settings) -> None:
    """By distances of SciPy and a sorted list, on the arrays of the stages before."""
    job, left_out = find_job(distilled), 0.25
    rows = np.arange(len(open_index(job)))
    centers = job.checkpoint("evaluate").read_values("class_centers.npy")  # of the protocol kmeans
    found, classes = find_region_classes(job, rows, left_out)
    assert found == len(centers) == 2
    area, foreground = (job.checkpoint("segment").array(name).rows(0, 14) for name in ("area", "foreground"))
    embedding = job.checkpoint("embed").array("embedding").rows(0, 14)
    assert ((classes == 0) == ((area > 0) & ~foreground)).all()
    place = np.argwhere(foreground)  # [m, 2]
    unit = embedding[foreground] / np.linalg.norm(embedding[foreground], axis=1, keepdims=True)
    distance = cdist(unit, centers)  # [m, K]
    for cluster in range(1, len(centers) + 1):
        members = np.flatnonzero(distance.argmin(axis=1) == cluster - 1)
        nearest = members[np.argsort(distance[members, cluster - 1])]
        kept = nearest[: int((1 - left_out) * (len(nearest) - 1)) + 1]
        assert {tuple(place[m]) for m in kept} == {tuple(p) for p in np.argwhere(classes == cluster)}


def test_merged_clusters_of_whitened_embeddings_of_all_regions_teach(mine: Settings) -> None:
    """The same with several centers for a cluster. The background is no class, because all regions have one."""
    settings = changed(
        mine,
        dataset=without_truth(photograph_folder_of(mine)),
        embed={"whiten": 6},
        evaluate={"num_clusters": 2, "overclustering": 3, "num_seeds": 1, "background": "none"},
        distill={"rounds": 1, "iterations": 2},
    )
    run_stages(settings, "evaluate")
    job, left_out = find_job(settings), 0.25
    whitening = "region_whitening.safetensors"
    assert [job.checkpoint(stage).has_file(whitening) for stage in ("distill", "evaluate")] == [True, False]
    rows = np.arange(len(open_index(job)))
    regions = read_regions(job, rows)
    assert regions.foreground.all()
    evaluated = job.checkpoint("evaluate")
    centers, clusters = (
        evaluated.read_values(f"{name}.npy") for name in ("class_centers", "class_of_cluster")
    )
    assert centers.shape == (6, 6)  # three for each cluster, and six directions
    unit = regions.embedding / np.linalg.norm(regions.embedding, axis=1, keepdims=True)
    distance = cdist(unit, centers)  # [R, c]
    cluster_of_region = clusters[1:][distance.argmin(axis=1)]
    found, classes = find_region_classes(job, rows, left_out)
    assert found == 2
    for cluster in (1, 2):
        members = np.flatnonzero(cluster_of_region == cluster)
        nearest = members[np.argsort(distance[members].min(axis=1))]
        kept = nearest[: int((1 - left_out) * (len(nearest) - 1)) + 1]
        places = {(regions.image[m], regions.index[m]) for m in kept}
        assert places == {tuple(place) for place in np.argwhere(classes == cluster)}
    assert not (classes == 0).any()
    model = model_of_run(settings)
    assert model.whitening is not None
    assert model.head is not None
    assert model.to_bytes() == model_of_training(job.checkpoint("train"), job.workspace).to_bytes()


def test_no_label_reaches_the_head(distilled: Settings, tmp_path: Path) -> None:
    folder = without_truth(photograph_folder_of(distilled))
    blind = changed(
        distilled, dataset=folder, evaluate={"num_clusters": 2}, workspace=str(tmp_path / "blind")
    )
    run_stages(blind, "evaluate")
    assert files_of(blind) == files_of(distilled)
    assert read_results(find_job(blind)).find(Distilled) is None
    model = model_of_run(blind)
    assert model.head is not None
    assert model.description.classes is not None
    assert model.description.classes.named.names == ("background", "cluster 1", "cluster 2")


def test_the_metrics_are_those_of_the_maps_of_the_model(distilled: Settings) -> None:
    """The map of every photograph by the model, compared with its mask pixel by pixel."""
    job = find_job(distilled)
    images = list(open_index(job).images())
    stored = model_of_run(distilled)
    assert stored.to_bytes() == model_of_training(job.checkpoint("train"), job.workspace).to_bytes()
    root, dataset = photograph_folder_of(distilled), distilled.dataset.open()
    results = Model(stored, device="cpu").segment([root / image.item.image for image in images])
    predicted, truth = [], []
    for image, result in zip(images, results, strict=True):
        mask = dataset.read_mask(image.item, image.height, image.width)
        np.testing.assert_array_equal(result.clusters, patch_clusters(job, image.row))
        assert result.semantic is not None
        assert mask is not None
        predicted.append(result.semantic[mask < 3])
        truth.append(mask[mask < 3])
    hits, pixels = np.concatenate(predicted) == np.concatenate(truth), np.concatenate(truth)
    metrics = read_results(job).of(Distilled)
    assert metrics.accuracy == pytest.approx(hits.mean())
    assert np.sum(metrics.confusion) == len(pixels)
    assert np.trace(metrics.confusion) == hits.sum()
    assert metrics.clusters == read_results(job).of(KMeans).clusters
    assert metrics.agreement == DistillSummary.read(job).agreement[-1]


@pytest.mark.slow
def test_a_distillation_resumes_at_every_iteration_and_ends_at_the_same(
    mine: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, step = files_of(mine), HeadTrainer.step
    folder = Path(find_job(mine).checkpoint("distill").location)
    for killed in range(1, 16):
        shutil.rmtree(folder)
        taken: list[int] = []

        def counted(
            self: HeadTrainer,
            layers: Sequence[Tensor],
            targets: Tensor,
            killed: int = killed,
            taken: list[int] = taken,
        ) -> float:
            if len(taken) == killed:
                taken.append(-1)
                raise InterruptionError
            taken.append(self.iteration)
            return step(self, layers, targets)

        monkeypatch.setattr(HeadTrainer, "step", counted)
        with pytest.raises(InterruptionError):
            run_stages(mine, "distill")
        run_stages(mine, "distill")
        assert files_of(mine) == expected
        # Of each round the last iteration is not saved before the head of the round is, so it may run twice.
        assert [number for number in taken if number >= 0] == [*range(8), *range(8)]


def test_a_resumed_distillation_keeps_the_whitening_that_its_clusters_were_made_with(
    mine: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted again on another machine it would differ in its last bits, and the clusters are kept."""
    settings = changed(mine, embed={"whiten": 6}, evaluate={"num_seeds": 1})
    with monkeypatch.context() as context:
        context.setattr(HeadTrainer, "step", interrupted_step)
        with pytest.raises(InterruptionError):
            run_stages(settings, "distill")
    monkeypatch.setattr(TokenWhitening, "fit", lambda *_: pytest.fail("it was fitted again"))
    run_stages(settings, "distill")


def interrupted_step(*_: object) -> float:
    raise InterruptionError


def test_the_report_lists_the_stage_whose_whitening_it_reads(distilled: Settings, finished: Settings) -> None:
    assert "distill" in STAGES["report"].inputs(distilled.resolve())
    assert "distill" not in STAGES["report"].inputs(finished.resolve())


@pytest.mark.parametrize("file", ["head.safetensors", "agreement.json"])
def test_a_distillation_killed_while_it_tidies_up_ends_at_the_same(
    mine: Settings, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two deletions; and a file is lost as well."""
    expected, folder = files_of(mine), Path(find_job(mine).checkpoint("distill").location)
    shutil.rmtree(folder)
    checkpoint = type(find_job(mine).checkpoint("distill"))
    delete, deleted = checkpoint.delete_file, []

    def interrupted(self: object, name: str) -> None:
        if name == "round-2.safetensors":
            raise InterruptionError
        deleted.append(name)
        delete(self, name)  # type: ignore[arg-type]

    with monkeypatch.context() as context:
        context.setattr(checkpoint, "delete_file", interrupted)
        with pytest.raises(InterruptionError):
            run_stages(mine, "distill")
    assert "round-1.safetensors" in deleted
    for kept in ("files", "digests"):
        (folder / kept / file).unlink()
    run_stages(mine, "distill")
    assert files_of(mine) == expected


def test_patience_ends_a_round_and_the_best_check_counts(mine: Settings) -> None:
    settings = changed(mine, distill={"rounds": 1, "patience": 2, "iterations": 40, "learning_rate": 1e-9})
    run_stages(settings, "distill")
    job = find_job(settings)
    summary = DistillSummary.read(job)
    (checks,) = json.loads(files_of(settings)["agreement.json"])
    assert summary.iterations == (3,)  # nothing changes, so two checks after the first one are enough
    assert summary.agreement[0] == max(value for _, value in checks)
    manifest: Manifest = job.checkpoint("distill").require()
    assert STAGES["distill"].closing(job, manifest) == summary.describe()
    assert summary.describe().startswith("ended after 3 iterations; the head agrees on ")


def test_a_cluster_that_the_head_loses_is_named(mine: Settings) -> None:
    """A head that has learned nothing gives most patches one class, which is not always the same."""
    untaught = {"rounds": 1, "iterations": 1, "learning_rate": 1e-9, "depth": 1, "layers": []}
    for seed in range(6):
        settings = changed(mine, distill={**untaught, "seed": seed})
        found = run_stages(settings, "distill")["distill"]
        vanished = DistillSummary.of(found.manifest).vanished
        if vanished:
            break
    job = find_job(settings)
    given = {cluster for row in range(14) for cluster in patch_clusters(job, row).argmax(axis=1).tolist()}
    assert set(vanished) >= {1, 2} - given
    assert vanished
    (warning,) = found.warnings
    assert warning.startswith(
        f"the head finds {len(vanished)} of 2 clusters nowhere, although regions taught"
    )


def test_one_cluster_without_background_is_said_and_learned(mine: Settings) -> None:
    """All regions are confident in one class."""
    one_region = {"segmenter": {"name": "kmeans", "num_regions": 1}}
    settings = changed(mine, segment=one_region, evaluate={"num_clusters": 1}, distill={"rounds": 1})
    found = run_stages(settings, "distill")["distill"]
    summary = DistillSummary.of(found.manifest)
    assert (summary.clusters, summary.taught, summary.agreement, summary.vanished) == (1, 1, (1.0,), ())
    assert found.warnings[0].startswith("all confident regions of the split all are cluster 1, so the head")


def test_a_single_photograph_is_enough(mine: Settings, tmp_path: Path) -> None:
    photograph = next(photograph_folder_of(mine).rglob("*.png"))
    (tmp_path / "one").mkdir()
    shutil.copy(photograph, tmp_path / "one")
    settings = changed(
        mine, dataset=without_truth(tmp_path / "one"), evaluate={"num_clusters": 1}, train={"iterations": 2}
    )
    summary = DistillSummary.of(run_stages(settings, "distill")["distill"].manifest)
    assert (summary.images, summary.held_out_images, summary.clusters) == (1, 1, 1)


def test_what_cannot_be_distilled_is_a_sentence(mine: Settings) -> None:
    with pytest.raises(InvalidSettingsError, match="distill.rounds is 0, so there is no head; set it to 1"):
        run_stages(changed(mine, distill={"rounds": 0}), "distill")
    with pytest.raises(InvalidSettingsError, match="names no layer beside backbone.token_layer"):
        run_stages(changed(mine, distill={"layers": [-1]}), "token_layers")
    with pytest.raises(InvalidOptionError, match="layer -99 does not exist; the model has 12 blocks"):
        run_stages(changed(mine, distill={"layers": [-99]}), "token_layers")


def test_regions_that_are_classes_need_no_head(distilled: Settings) -> None:
    settings = changed(distilled, segment={"segmenter": {"name": "pixels"}})
    assert not {"distill", "token_layers", "embed"} & find_job(settings).keys.keys()


def test_the_cached_layers_are_those_of_the_backbone(distilled: Settings) -> None:
    """The other layer is another forward pass's; the layer of extract is in no second place."""
    job = find_job(distilled)
    assert [spec.name for spec in job.checkpoint("token_layers").require().arrays] == [
        "tokens_of_layer_minus_2",
        "present",
    ]
    other = changed(distilled, backbone={"token_layer": -2}, distill={"rounds": 0})
    run_stages(other, "extract")
    np.testing.assert_array_equal(
        job.checkpoint("token_layers").array("tokens_of_layer_minus_2").rows(0, 14),
        find_job(other).checkpoint("extract").array("tokens").rows(0, 14),
    )
