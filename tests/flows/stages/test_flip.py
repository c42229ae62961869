"""``backbone.flip``: the cached tokens are averaged over both views, and the model knows it."""

from dataclasses import replace

import numpy as np

from dcn.flip_averaging import compute_features
from dcn.images.photograph import decode_photograph, squash
from dcn.model import Model
from flows.execution.plan import find_job
from flows.inputs.class_head import patch_clusters
from flows.inputs.image_index import open_index
from flows.inputs.models import load_backbone
from flows.library.run_model import model_of_run
from flows.settings import Settings
from tests.flows.helpers import changed, photograph_folder_of, run_stages


def test_cache_and_model_average_both_views(copy: Settings) -> None:
    flipped = changed(copy, backbone={"flip": True})
    run_stages(flipped, "segment")
    job = find_job(flipped)
    files = [photograph_folder_of(copy) / image.item.image for image in open_index(job).images()][:4]
    squashed = np.stack([squash(decode_photograph(file.read_bytes()), 64) for file in files])
    backbone = load_backbone(job.settings)
    expected = compute_features(backbone, backbone.preprocess(squashed), -1, -1, flip=True).tokens.numpy()
    np.testing.assert_allclose(
        job.checkpoint("extract").array("tokens").rows(0, 4), expected, rtol=2e-3, atol=2e-3
    )
    stored = model_of_run(flipped)
    assert stored.description.backbone.flip
    for file, assignment in zip(files, job.checkpoint("segment").array("assignment").rows(0, 4), strict=True):
        np.testing.assert_array_equal(Model(stored, device="cpu").segment(file).assignment, assignment)


def test_head_and_embeddings_of_a_model_see_both_views_as_the_run_does(copy: Settings) -> None:
    """Of cached layers and of others: the head reads the blocks -2 and -1, the embeddings block -3."""
    flipped = changed(
        copy,
        backbone={"flip": True},
        embed={"source": "tokens", "token_layer": -3},
        evaluate={"num_seeds": 1, "neighbors": [], "attainable_images": 0, "true_regions": False},
        distill={"rounds": 1, "layers": [-2, -1], "iterations": 2, "batch_size": 4},
    )
    run_stages(flipped, "evaluate")
    job = find_job(flipped)
    files = [photograph_folder_of(copy) / image.item.image for image in open_index(job).images()][:4]
    model = Model(model_of_run(flipped), device="cpu")
    results = model.segment(files)
    model.embed(results)
    embedding = job.checkpoint("embed").array("embedding").rows(0, 4)
    for row, result in enumerate(results):
        np.testing.assert_array_equal(result.clusters, patch_clusters(job, row))
        assert result.embeddings
        for label, vector in result.embeddings.items():
            np.testing.assert_allclose(vector, embedding[row, label], atol=1e-5)
    unflipped = replace(
        model.stored,
        description=model.stored.description.model_copy(
            update={"backbone": model.stored.description.backbone.model_copy(update={"flip": None})}
        ),
    )
    assert not np.array_equal(Model(unflipped, device="cpu").segment(files[0]).clusters, results[0].clusters)


def test_without_it_keys_and_model_files_stay_what_they_were(finished: Settings) -> None:
    job = find_job(finished)
    assert find_job(changed(finished, backbone={"flip": False})).keys == job.keys
    flipped = find_job(changed(finished, backbone={"flip": True}))
    assert flipped.keys["index"] == job.keys["index"]
    assert flipped.keys["extract"] != job.keys["extract"]
    assert b"flip" not in job.checkpoint("train").read_file("dcn.safetensors")
    assert b'"background"' not in job.checkpoint("train").read_file("dcn.safetensors")
