"""Missing, damaged or changed photographs, tokens and weights are left out or give an error that names them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcn.errors import NonFiniteTrainingError, WeightsUnavailableError
from flows.errors import DatasetChangedError, EmptyDatasetError
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import Results
from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.inputs.summaries import SegmentSummary
from flows.report.pictures import ResultReader
from flows.settings import Settings
from storage import CheckpointDamagedError
from tests.conftest import draw_scene
from tests.flows.helpers import MakeSettings, changed, run_stages, without_truth


def test_photographs_that_disappear_or_change_after_indexing_are_left_out(
    photograph_folder: Path, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    shutil.copytree(photograph_folder / "photos", tmp_path / "photos")
    settings = tiny_settings(dataset=without_truth(tmp_path / "photos"))
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
    assert SegmentSummary.of(results["segment"].manifest).images == 12
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


def test_the_pipeline_works_without_ground_truth(
    photograph_folder: Path, tiny_settings: MakeSettings
) -> None:
    settings = tiny_settings(
        dataset=without_truth(photograph_folder / "photos"),
        evaluate={"num_clusters": 4, "attainable_images": 0},
    )
    results = Results.from_manifest(run_stages(settings)["evaluate"].manifest)
    assert results.labelled_images == 0
    assert results.of(KMeans).miou is None
    assert results.find(UpperBound) is None
    assert 1 <= results.of(KMeans).clusters <= 4
    page = find_job(settings).checkpoint("report").read_file("report.html").decode()
    assert "of the foreground regions" in page
    assert "ground truth" not in page


def test_a_data_set_without_usable_photographs_is_an_error(
    tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no")
    with pytest.raises(EmptyDatasetError, match="none of the 1 photographs in"):
        run_stages(tiny_settings(dataset=without_truth(tmp_path / "photos")))


def test_one_photograph_is_enough(tmp_path: Path, tiny_settings: MakeSettings) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(draw_scene(1)[0]).save(tmp_path / "photos" / "only.png")
    settings = tiny_settings(dataset=without_truth(tmp_path / "photos"))
    results = run_stages(settings)
    assert Results.from_manifest(results["evaluate"].manifest).images == 1


def test_damaged_tokens_stop_training_and_are_named(copy: Settings) -> None:
    settings = changed(copy, train={"seed": 5})
    array = Path(find_job(settings).checkpoint("extract").location) / "arrays" / "tokens"
    shard = next(path for path in (array / "c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CheckpointDamagedError, match="tokens is damaged"):
        run_stages(settings, "train")


def test_nan_in_tokens_names_iteration_and_photograph(copy: Settings) -> None:
    settings = changed(copy, train={"seed": 6, "prototypes": "normal", "whitened_dims": None})
    checkpoint = find_job(settings).checkpoint("extract")
    manifest = checkpoint.require()
    record = checkpoint.read_record(0)
    arrays = {spec.name: checkpoint.array(spec.name).rows(0, 4).copy() for spec in manifest.arrays}
    arrays["tokens"][1, :, 3] = np.nan
    checkpoint.write_shard(manifest, 0, arrays, record.info, 0.0)
    with pytest.raises(
        NonFiniteTrainingError, match=r"the tokens of left/scene 03 are not finite; extract them again"
    ):
        run_stages(changed(settings, train={"prototypes": "kmeans"}), "train")
    with pytest.raises(
        NonFiniteTrainingError, match=r"iteration \d+: the modularity of left/scene 03 is not finite"
    ):
        run_stages(settings, "train")


def test_missing_weights_stop_before_anything_is_computed(tiny_settings: MakeSettings) -> None:
    with pytest.raises(WeightsUnavailableError, match="there is no weights file .*nowhere"):
        run_stages(tiny_settings(backbone={"weights": "nowhere.safetensors"}))


def test_a_data_set_that_changes_during_a_run_is_an_error(
    photograph_folder: Path, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    shutil.copytree(photograph_folder / "photos", tmp_path / "photos")
    settings = tiny_settings(dataset=without_truth(tmp_path / "photos"))
    run_stages(settings, "index")
    assert find_job(settings).checkpoint("extract").read_manifest() is None
    (tmp_path / "photos" / "left" / "scene 01.png").unlink()
    with pytest.raises(DatasetChangedError, match="extract has no checkpoint yet; run this again"):
        find_job(settings).checkpoint("extract")
