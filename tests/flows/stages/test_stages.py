"""The stages on tiny photographs: their output, and the files that they never replace."""

import json
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.functional import accuracy, jaccard_index

from dcn.network import DynamicClusteringNetwork
from flows.cli.export import export_labels
from flows.errors import FlowError
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.protocols.modularity import Modularity
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.inputs.summaries import TrainSummary
from flows.settings import Settings
from tests.flows.helpers import digests, mask_folder_of, photograph_folder_of, run_stages


def test_arrays_have_their_shapes_and_describe_the_same_regions(finished: Settings) -> None:
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


def test_metrics_equal_torchmetrics_on_the_exported_files(finished: Settings, tmp_path: Path) -> None:
    """The computation here shares only the exported files and the masks with the stage."""
    results = read_results(find_job(finished))
    assert export_labels(finished, "semantic", tmp_path / "semantic") == 14
    assert export_labels(finished, "regions", tmp_path / "regions") == 14
    masks_folder = mask_folder_of(finished)
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
    shown = torch.from_numpy(np.stack(predicted).astype(np.int64))
    expected = jaccard_index(shown, truth_tensor, "multiclass", num_classes=3, average="none")
    np.testing.assert_allclose(np.array(results.of(KMeans).class_iou), expected.numpy(), atol=1e-6)
    bound = torch.from_numpy(np.stack(best).astype(np.int64))
    assert results.of(UpperBound).miou == pytest.approx(
        jaccard_index(bound, truth_tensor, "multiclass", num_classes=3).item(), abs=1e-6
    )
    assert results.of(UpperBound).accuracy == pytest.approx(
        accuracy(bound, truth_tensor, "multiclass", num_classes=3, average="micro").item(), abs=1e-6
    )
    assert results.of(Modularity).regions_per_image == pytest.approx(np.mean(regions_per_image))


def test_the_share_of_attainable_modularity_is_positive_and_at_most_about_one(finished: Settings) -> None:
    metrics = read_results(find_job(finished)).of(Modularity)
    assert metrics.share_of_attainable is not None
    assert 0 < metrics.share_of_attainable < 1.02
    assert metrics.attainable_images == 6


def test_the_best_weights_are_kept_instead_of_the_last(finished: Settings) -> None:
    files = Path(find_job(finished).checkpoint("train").location, "files")
    curve = json.loads((files / "curve.json").read_text())
    summary = TrainSummary.read(find_job(finished))
    assert [step["iteration"] for step in curve["steps"]] == list(range(12))
    assert [iteration for iteration, _ in curve["held_out"]] == [3, 6, 9, 12]
    assert summary.held_out_modularity == max(value for _, value in curve["held_out"])
    assert not (files / "state.safetensors").exists()


def test_an_interrupted_training_ends_with_bit_identical_results(
    finished: Settings, copy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("train", "segment", "embed", "evaluate", "report"):
        shutil.rmtree(Path(copy.workspace) / stage)
    forward, calls = DynamicClusteringNetwork.forward, count(1)

    def fail_late(self: DynamicClusteringNetwork, tokens: Tensor) -> Tensor:
        if next(calls) == 9:
            raise RuntimeError("the power went out")
        return forward(self, tokens)

    monkeypatch.setattr(DynamicClusteringNetwork, "forward", fail_late)
    with pytest.raises(RuntimeError, match="power"):
        run_stages(copy, "train")
    monkeypatch.undo()
    state = Path(find_job(copy).checkpoint("train").location, "files") / "state.safetensors"
    assert state.exists()
    run_stages(copy)
    assert digests(copy) == digests(finished)


def test_an_export_never_replaces_a_file_of_the_data_set(finished: Settings, tmp_path: Path) -> None:
    photographs, masks = photograph_folder_of(finished), mask_folder_of(finished)
    before = {path: path.read_bytes() for path in [*photographs.rglob("*.png"), *masks.rglob("*.png")]}
    with pytest.raises(FlowError, match="is in the data set"):
        export_labels(finished, "regions", photographs / "left")
    with pytest.raises(FlowError, match="would replace its ground truth"):
        export_labels(finished, "regions", masks)
    assert {path: path.read_bytes() for path in before} == before
