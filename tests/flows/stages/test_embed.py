"""``embed``: which regions are embedded, of which sources, and how all readers see them whitened."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from dcn.backbone import Backbone
from dcn.images.photograph import squash
from dcn.model import Model
from dcn.region_tokens import mean_tokens
from flows.evaluation.protocols.kmeans import CENTERS
from flows.evaluation.region_table import read_regions, read_true_regions
from flows.execution.plan import find_job
from flows.inputs.datasets import open_dataset, read_photograph
from flows.inputs.image_index import open_index
from flows.inputs.region_maps import RegionMaps
from flows.library.run_model import model_of_run, model_of_training
from flows.settings import Settings
from tests.flows.evaluation.test_results import SPLITS, write_voc
from tests.flows.helpers import changed, run_stages


def embeddings(settings: Settings) -> np.ndarray:
    return find_job(settings).checkpoint("embed").array("embedding").rows(0, 14)  # [N, k, d]


@pytest.mark.parametrize(
    ("changes", "background"),
    [
        pytest.param({"evaluate": {"neighbors": []}}, True, id="true regions have background"),
        pytest.param({"evaluate": {"neighbors": [], "true_regions": False}}, False, id="only k-means"),
        pytest.param(
            {"dataset": {"masks": None, "classes": None}, "evaluate": {"num_clusters": 3}},
            False,
            id="no ground truth",
        ),
    ],
)
def test_only_regions_that_a_protocol_reads_are_embedded(
    finished: Settings, copy: Settings, changes: dict[str, Any], background: bool
) -> None:
    settings = changed(copy, **changes)
    run_stages(settings, "evaluate")
    segment = find_job(settings).checkpoint("segment")
    expected = segment.array("area" if background else "foreground").rows(0, 14) > 0  # [N, k]
    found = embeddings(settings)
    assert (found.any(axis=2) == expected).all()
    assert np.abs(found - embeddings(finished))[expected].max() < 1e-5
    assert find_job(settings).checkpoint("embed").require().summary["regions"] == expected.sum()
    assert find_job(settings).checkpoint("evaluate").require().warnings == ()


@pytest.mark.parametrize("neighbors", [[], [1]])
def test_only_nearest_neighbors_need_the_training_split(
    tiny_config: dict[str, Any], tmp_path: Path, neighbors: list[int]
) -> None:
    settings = Settings.model_validate(
        {
            **tiny_config,
            "dataset": {"name": "voc2012", "root": str(write_voc(tmp_path / "voc"))},
            "segment": {"segmenter": {"name": "kmeans", "num_regions": 2}},
            "evaluate": {"neighbors": neighbors, "num_clusters": 2},
            "workspace": str(tmp_path / "workspace"),
        }
    )
    run_stages(settings, "evaluate")
    job = find_job(settings)
    for stage in ("embed", "embed_truth"):
        embedding = job.checkpoint(stage).array("embedding").rows(0, 17)
        embedded: np.ndarray = (embedding != 0).any(axis=(1, 2))  # [N]
        assert embedded[list(SPLITS["val"])].all(), stage
        assert embedded[list(SPLITS["train"])].all() == bool(neighbors), stage
        assert embedded[list(SPLITS["train"])].any() == bool(neighbors), stage
    assert job.checkpoint("evaluate").require().warnings == ()


# What takes most of the time of an evaluation, and reads no embedding more than once.
QUICK = {"num_seeds": 1, "attainable_images": 0}


def photographs(settings: Settings) -> list[np.ndarray]:
    index, dataset = open_index(find_job(settings)), open_dataset(settings.dataset)
    return [read_photograph(dataset, image) for image in index.images()]


def labels(settings: Settings) -> list[np.ndarray]:
    job = find_job(settings)
    maps = RegionMaps.read(job, 0, 14)
    return [maps.of(image) for image in open_index(job).images()]


def test_a_list_of_sources_is_joined_and_the_tokens_are_those_of_the_cache(
    finished: Settings, copy: Settings
) -> None:
    settings = changed(copy, embed={"source": ["crop", "tokens"]})
    run_stages(settings, "embed")
    tokens = find_job(settings).checkpoint("extract").array("tokens").rows(0, 14)  # [N, n, d]
    means = [mean_tokens(*photograph, 3) for photograph in zip(tokens, labels(settings), strict=True)]
    crops, joined = embeddings(finished), embeddings(settings)
    assert joined.shape == (14, 3, 384)
    for row in range(14):
        expected = np.concatenate([normalize(crops[row]), normalize(means[row])], axis=1)
        np.testing.assert_allclose(joined[row], expected, atol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_tokens_of_a_block_that_is_not_cached_are_computed(copy: Settings, flip: bool) -> None:
    tokens_of_block = {"source": "tokens", "token_layer": -4}
    settings = changed(copy, embed=tokens_of_block, backbone={"flip": flip}, evaluate={"neighbors": []})
    run_stages(settings, "embed_truth")
    run_stages(settings, "embed")
    backbone = Backbone.from_preset(settings.backbone.name, settings.backbone.weights, "cpu")[0]
    pictures = np.stack([squash(photograph, 64) for photograph in photographs(settings)])
    inputs = backbone.preprocess(pictures)
    tokens = backbone.features(inputs, -4, -4).tokens.numpy()  # [N, n, d]
    if flip:
        mirrored = backbone.features(inputs.flip(-1), -4, -4).tokens.numpy().reshape(14, 4, 4, -1)
        tokens = (tokens + mirrored[:, :, ::-1].reshape(tokens.shape)) / 2
    found = embeddings(settings)
    for row, regions in enumerate(labels(settings)):
        np.testing.assert_allclose(found[row], mean_tokens(tokens[row], regions, 3), atol=2e-3)
    truth = find_job(settings).checkpoint("embed_truth").array("embedding").rows(0, 14)
    assert (truth.any(axis=2) == (np.abs(truth) > 0).any(axis=2)).all()
    assert truth.any()

    model = Model(model_of_run(settings), device="cpu")
    (result,) = model.segment(photographs(settings)[:1])
    for label in np.flatnonzero(result.area):
        np.testing.assert_allclose(result.embedding(int(label)), found[0, label], atol=2e-3)


def test_whitened_embeddings_are_the_same_for_all_readers_and_for_the_model(copy: Settings) -> None:
    """The map is that of PCA on the foreground regions, found or true ones are mapped alike, and no crop is new."""
    settings = changed(copy, embed={"whiten": 6}, evaluate=QUICK)
    plain, job = find_job(copy), find_job(settings)
    different = {stage for stage in job.keys if job.keys[stage] != plain.keys.get(stage)}
    assert different == {"evaluate", "report"}
    run_stages(settings, "evaluate")
    job = find_job(settings)
    evaluate, rows = job.checkpoint("evaluate").require(), np.arange(14)
    assert evaluate.warnings == plain.checkpoint("evaluate").require().warnings

    raw = read_regions(plain, rows)
    unit = normalize(raw.embedding[raw.foreground].astype(np.float64))
    components = PCA(6).fit(unit)
    scales = np.sqrt(components.singular_values_ / np.sqrt(len(unit)))
    for read in (read_regions, read_true_regions):
        before, after = read(plain, rows).embedding, read(job, rows).embedding
        expected = normalize(components.transform(normalize(before.astype(np.float64))) / scales)
        np.testing.assert_allclose(normalize(after) @ normalize(after).T, expected @ expected.T, atol=2e-3)
    assert job.checkpoint("evaluate").read_values(CENTERS).shape[1] == 6

    for stored in (model_of_run(settings), model_of_training(job.checkpoint("train"), job.workspace)):
        model = Model(stored, device="cpu")
        results = model.segment(photographs(settings))
        model.embed(results, foreground_only=False)
        found = np.concatenate(
            [[one.embeddings[label] for label in sorted(one.embeddings)] for one in results]
        )
        np.testing.assert_allclose(found, read_regions(job, rows).embedding, atol=1e-3)


def test_more_directions_than_regions_are_lowered_with_a_warning(copy: Settings) -> None:
    settings = changed(copy, embed={"whiten": True}, evaluate={**QUICK, "true_regions": False})
    run_stages(settings, "evaluate")
    job = find_job(settings)
    regions = int(read_regions(job, np.arange(14)).foreground.sum())
    (warning,) = job.checkpoint("evaluate").require().warnings
    assert warning == (
        f"embed.whiten asks for 192 directions, and the foreground regions of the split all suffice for "
        f"{regions - 1}, so there are no more"
    )


def test_whitening_needs_the_training_split(tiny_config: dict[str, Any]) -> None:
    values = {**tiny_config, "evaluate": {"neighbors": []}}
    assert not Settings.model_validate(values).embeds_training_split
    whitened = Settings.model_validate({**values, "embed": {"whiten": 4}})
    assert whitened.embeds_training_split
    assert not whitened.classifies_by_neighbors


def test_dropped_patches_give_other_embeddings_of_the_same_regions(
    finished: Settings, copy: Settings
) -> None:
    settings = changed(copy, embed={"drop_masked": True})
    run_stages(settings, "embed")
    found, paper = embeddings(settings), embeddings(finished)
    assert (found.any(axis=2) == paper.any(axis=2)).all()
    assert torch.isfinite(torch.from_numpy(found)).all()
