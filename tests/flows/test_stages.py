"""The stages on tiny photographs: what they write, what they reuse, what they survive."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional import accuracy, jaccard_index

from dcn.errors import NonFiniteTrainingError, WeightsUnavailableError
from dcn.network import DynamicClusteringNetwork
from flows.errors import DatasetChangedError, EmptyDatasetError, FlowError
from flows.export import export_labels
from flows.pictures import ResultReader
from flows.plan import find_job, states
from flows.settings import Settings
from storage import CheckpointDamagedError
from tests.conftest import draw_scene
from tests.flows.helpers import STAGES, changed, digests, run_stages

MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="module")
def finished(tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A pipeline that ran to its end."""
    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    settings = Settings.model_validate({**tiny_config, "workspace": str(workspace)})
    run_stages(settings)
    return settings


def reused(settings: Settings) -> list[str]:
    """The stages whose checkpoints are there for these settings."""
    return [state.stage for state in states(settings) if state.state == "complete"]


def test_every_stage_is_complete_and_a_second_run_computes_nothing(finished: Settings) -> None:
    assert reused(finished) == STAGES
    assert all(result.reused for result in run_stages(finished).values())


@pytest.mark.parametrize(
    ("section", "values", "kept"),
    [
        ("backbone", {"input_size": 80}, 1),
        ("backbone", {"token_layer": -2}, 1),
        ("backbone", {"attention_block": -2}, 1),
        ("train", {"num_prototypes": 2}, 2),
        ("train", {"seed": 1}, 2),
        ("segment", {"region_score": "mean"}, 3),
        ("segment", {"attention_reduction": "min"}, 3),
        ("embed", {"layer": -2}, 4),
        ("evaluate", {"num_seeds": 2}, 5),
        ("report", {"num_photographs": 2}, 6),
        # What changes no result changes no key.
        ("backbone", {"batch_size": 3}, 7),
        ("train", {"save_every": 5}, 7),
        ("runner", {"kind": "dask", "workers": 2}, 7),
    ],
)
def test_a_setting_costs_the_stages_that_depend_on_it(finished: Settings, section, values, kept: int) -> None:
    assert reused(changed(finished, **{section: values})) == STAGES[:kept]


def test_shard_size_changes_no_key(finished: Settings) -> None:
    assert reused(finished.model_copy(update={"shard_images": 5})) == STAGES


def test_the_preset_of_a_name_and_its_values_written_out_are_the_same(finished: Settings) -> None:
    explicit = changed(finished, segment={"attention_reduction": "max"}, embed={"layer": -1})
    assert reused(explicit) == STAGES


def test_another_number_of_prototypes_reuses_the_features_and_leaves_the_old(
    finished: Settings, tmp_path
) -> None:
    shutil.copytree(finished.workspace, tmp_path / "w")
    settings = finished.model_copy(update={"workspace": str(tmp_path / "w")})
    before = digests(settings)
    results = run_stages(changed(settings, train={"num_prototypes": 2}), "segment")
    assert [stage for stage, result in results.items() if result.reused] == ["index", "extract"]
    assert digests(settings) == before


def test_shapes_and_regions(finished: Settings) -> None:
    job = find_job(finished)
    segment, embed, extract = (job.checkpoint(stage) for stage in ("segment", "embed", "extract"))
    assert extract.array("tokens").shape == (14, 16, 192)
    assert extract.array("attention").shape == (14, 3, 16)
    area, box = segment.array("area").rows(0, 14), segment.array("box").rows(0, 14)
    assert (area.sum(axis=1) == 48 * 64).all()
    sides = box[..., 2:] - box[..., :2]
    assert (sides.prod(axis=-1) >= area).all()
    embedding = embed.array("embedding").rows(0, 14)
    assert ((embedding != 0).any(axis=-1) == (area > 0)).all()
    foreground = segment.array("foreground").rows(0, 14)
    assert foreground.any(axis=1).all()
    assert not (foreground & (area == 0)).any()


def test_figures_equal_torchmetrics_on_the_exported_files(finished: Settings, tmp_path: Path) -> None:
    """The exported PNGs and the masks on disk are all that this computation shares with the stage."""
    results = json.loads(find_job(finished).checkpoint("evaluate").read_file("results.json"))
    assert export_labels(finished, "semantic", tmp_path / "semantic") == 14
    assert export_labels(finished, "regions", tmp_path / "regions") == 14
    masks_folder = Path(finished.dataset.masks)
    predicted, truth, best, regions_per_image = [], [], [], []
    for path in sorted((tmp_path / "semantic").rglob("*.png")):
        name = path.relative_to(tmp_path / "semantic")
        mask = np.asarray(Image.open(masks_folder / name))
        regions = np.asarray(Image.open(tmp_path / "regions" / name))
        assert regions.shape == mask.shape
        majority = np.zeros_like(mask)
        for region in np.unique(regions):
            majority[regions == region] = np.bincount(mask[regions == region]).argmax()
        regions_per_image.append(len(np.unique(regions)))
        predicted.append(np.asarray(Image.open(path)))
        truth.append(mask)
        best.append(majority)
    truth_tensor = torch.from_numpy(np.stack(truth).astype(np.int64))
    arguments = {"task": "multiclass", "num_classes": 3}
    shown = torch.from_numpy(np.stack(predicted).astype(np.int64))
    expected = jaccard_index(shown, truth_tensor, average="none", **arguments)
    np.testing.assert_allclose(results["kmeans"]["class_iou"], expected.numpy(), atol=1e-6)
    bound = torch.from_numpy(np.stack(best).astype(np.int64))
    assert results["upper_bound"]["miou"] == pytest.approx(
        jaccard_index(bound, truth_tensor, **arguments).item(), abs=1e-6
    )
    assert results["upper_bound"]["accuracy"] == pytest.approx(
        accuracy(bound, truth_tensor, average="micro", **arguments).item(), abs=1e-6
    )
    assert results["segmentation"]["regions_per_image"] == pytest.approx(np.mean(regions_per_image))


def test_the_share_of_attainable_modularity_is_a_share(finished: Settings) -> None:
    results = json.loads(find_job(finished).checkpoint("evaluate").read_file("results.json"))
    figures = results["segmentation"]
    assert 0 < figures["share_of_attainable"] < 1.02
    assert figures["attainable_images"] == 6


def test_the_best_weights_are_kept_and_not_the_last(finished: Settings) -> None:
    files = Path(find_job(finished).checkpoint("train").location, "files")
    curve = json.loads((files / "curve.json").read_text())
    summary = find_job(finished).checkpoint("train").require().summary
    assert [step["iteration"] for step in curve["steps"]] == list(range(12))
    assert [iteration for iteration, _ in curve["held_out"]] == [3, 6, 9, 12]
    assert summary["held_out_modularity"] == max(value for _, value in curve["held_out"])
    assert not (files / "state.safetensors").exists()


def test_an_interrupted_training_ends_with_the_same_bits(
    finished: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished.workspace, tmp_path / "w")
    settings = finished.model_copy(update={"workspace": str(tmp_path / "w")})
    for stage in ("train", "segment", "embed", "evaluate", "report"):
        shutil.rmtree(tmp_path / "w" / stage)
    forward, calls = DynamicClusteringNetwork.forward, []

    def fail_late(self, tokens):
        calls.append(1)
        if len(calls) == 9:
            raise RuntimeError("the power went out")
        return forward(self, tokens)

    monkeypatch.setattr(DynamicClusteringNetwork, "forward", fail_late)
    with pytest.raises(RuntimeError, match="power"):
        run_stages(settings, "train")
    monkeypatch.undo()
    state = Path(find_job(settings).checkpoint("train").location, "files") / "state.safetensors"
    assert state.exists()
    run_stages(settings)
    assert digests(settings) == digests(finished)


def test_touched_photographs_are_indexed_again_and_features_stay(
    finished: Settings, photograph_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(photograph_folder, tmp_path / "data")  # new times
    for path in (tmp_path / "data").rglob("*.png"):
        os.utime(path)
    shutil.copytree(finished.workspace, tmp_path / "w")
    settings = changed(
        finished,
        dataset={name: str(tmp_path / "data" / file) for name, file in
                 (("root", "photos"), ("masks", "masks"), ("classes", "classes.txt"))},
        workspace=str(tmp_path / "w"),
    )  # fmt: skip
    assert reused(settings) == []
    results = run_stages(settings)
    assert [stage for stage, result in results.items() if not result.reused] == ["index"]


def test_a_changed_photograph_costs_everything_after_it(
    photograph_folder: Path, tmp_path: Path, tiny_settings
) -> None:
    shutil.copytree(photograph_folder / "photos", tmp_path / "photos")
    dataset = {"root": str(tmp_path / "photos"), "masks": None, "classes": None}
    run_stages(tiny_settings(dataset=dataset), "extract")
    Image.fromarray(draw_scene(99)[0]).save(tmp_path / "photos" / "left" / "scene 01.png")
    results = run_stages(tiny_settings(dataset=dataset), "extract")
    assert not any(result.reused for result in results.values())


def test_photographs_that_vanish_or_change_after_indexing_are_left_out(
    photograph_folder: Path, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    shutil.copytree(photograph_folder / "photos", tmp_path / "photos")
    settings = tiny_settings(dataset={"root": str(tmp_path / "photos"), "masks": None, "classes": None})
    job = find_job(settings, "index")
    run_stages(settings, "index")
    gone, other = (
        tmp_path / "photos" / "left" / "scene 01.png",
        tmp_path / "photos" / "right" / "scene 02.png",
    )
    gone_bytes, other_time = gone.read_bytes(), other.stat()
    job = find_job(settings, "report")
    gone.unlink()
    other_bytes = other.read_bytes()
    other.write_bytes(gone_bytes)
    from flows.execution import compute_shards, run_stage

    results = {
        stage: run_stage(job, stage, compute_shards, lambda _: None)
        for stage in ("extract", "train", "segment")
    }
    assert results["extract"].manifest.summary == {
        "images": 12, "refused": 2, "tokens_per_image": 16, "token_width": 192
    }  # fmt: skip
    warnings = "\n".join(results["extract"].warnings)
    assert "left/scene 01.png was left out: it cannot be read any more: No such file" in warnings
    assert "right/scene 02.png was left out: it was changed after it was indexed" in warnings
    assert results["segment"].manifest.summary["images"] == 12
    area = job.checkpoint("segment").array("area").rows(0, 14)
    assert ((area > 0).any(axis=1)).sum() == 12
    assert len(list(ResultReader(job, semantic=False).segmented())) == 12
    repeated: list[str] = []
    assert run_stage(job, "extract", compute_shards, repeated.append).reused
    assert "\n".join(repeated) == warnings
    for stage in ("embed", "evaluate", "report"):
        run_stage(job, stage, compute_shards, lambda _: None)
    page = job.checkpoint("report").read_file("report.html").decode()
    assert "scene 01.png was left out: it cannot be read any more" in page
    assert other_bytes != gone_bytes
    assert other_time.st_size


def test_an_export_never_replaces_a_file_of_the_data_set(finished: Settings, tmp_path: Path) -> None:
    photographs, masks = Path(finished.dataset.root), Path(finished.dataset.masks)
    before = {path: path.read_bytes() for path in [*photographs.rglob("*.png"), *masks.rglob("*.png")]}
    with pytest.raises(FlowError, match="is in the data set"):
        export_labels(finished, "regions", photographs / "left")
    with pytest.raises(FlowError, match="would replace its ground truth"):
        export_labels(finished, "regions", masks)
    assert {path: path.read_bytes() for path in before} == before


def test_without_ground_truth_the_pipeline_ends_too(
    photograph_folder: Path, tiny_settings: MakeSettings
) -> None:
    settings = tiny_settings(
        dataset={"root": str(photograph_folder / "photos"), "masks": None, "classes": None},
        evaluate={"num_clusters": 4, "attainable_images": 0},
    )
    results = run_stages(settings)["evaluate"].manifest.summary
    assert results["labelled_images"] == 0
    assert "miou" not in results["kmeans"]
    assert "upper_bound" not in results
    assert 1 <= results["kmeans"]["clusters"] <= 4
    page = find_job(settings).checkpoint("report").read_file("report.html").decode()
    assert "no ground truth to compare with" in page


def test_nothing_usable_is_an_error(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no")
    with pytest.raises(EmptyDatasetError, match="none of the 1 photographs in"):
        run_stages(tiny_settings(dataset={"root": str(tmp_path / "photos"), "masks": None, "classes": None}))


def test_one_photograph_is_enough(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(draw_scene(1)[0]).save(tmp_path / "photos" / "only.png")
    settings = tiny_settings(dataset={"root": str(tmp_path / "photos"), "masks": None, "classes": None})
    results = run_stages(settings)
    assert results["evaluate"].manifest.summary["images"] == 1


def test_damaged_tokens_stop_training_and_are_named(finished: Settings, tmp_path: Path) -> None:
    shutil.copytree(finished.workspace, tmp_path / "w")
    settings = changed(finished, workspace=str(tmp_path / "w"), train={"seed": 5})
    array = Path(find_job(settings).checkpoint("extract").location) / "arrays" / "tokens"
    shard = next(path for path in (array / "c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CheckpointDamagedError, match="tokens is damaged"):
        run_stages(settings, "train")


def test_nan_in_tokens_names_iteration_and_photograph(finished: Settings, tmp_path: Path) -> None:
    shutil.copytree(finished.workspace, tmp_path / "w")
    settings = changed(finished, workspace=str(tmp_path / "w"), train={"seed": 6, "prototypes": "normal"})
    checkpoint = find_job(settings).checkpoint("extract")
    manifest = checkpoint.require()
    record = checkpoint.read_record(0)
    arrays = {spec.name: checkpoint.array(spec.name).rows(0, 4).copy() for spec in manifest.arrays}
    arrays["tokens"][1, :, 3] = np.nan
    checkpoint.write_shard(manifest, 0, arrays, record.info, 0.0)
    with pytest.raises(
        NonFiniteTrainingError, match=r"the tokens of left/scene 03 are not finite; extract them anew"
    ):
        run_stages(changed(settings, train={"prototypes": "kmeans"}), "train")
    with pytest.raises(
        NonFiniteTrainingError, match=r"iteration \d+: the modularity of left/scene 03 is not finite"
    ):
        run_stages(settings, "train")


def test_missing_weights_stop_before_anything_is_computed(tiny_settings: MakeSettings) -> None:
    with pytest.raises(WeightsUnavailableError, match="there is no weights file .*nowhere"):
        run_stages(tiny_settings(backbone={"weights": "nowhere.safetensors"}))


def test_a_data_set_that_changes_under_a_run_is_a_sentence(
    photograph_folder: Path, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    shutil.copytree(photograph_folder / "photos", tmp_path / "photos")
    settings = tiny_settings(dataset={"root": str(tmp_path / "photos"), "masks": None, "classes": None})
    run_stages(settings, "index")
    assert find_job(settings).checkpoint("extract").read_manifest() is None
    (tmp_path / "photos" / "left" / "scene 01.png").unlink()
    with pytest.raises(DatasetChangedError, match="extract has no checkpoint yet; run this again"):
        find_job(settings).checkpoint("extract")
