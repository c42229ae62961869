"""The label-free score through the pipeline: recomputed by NumPy from the cached tokens."""

import numpy as np
import pytest
from safetensors.numpy import load

from dcn.evaluation.label_free import EXPECTED_AFFINITY
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.protocols.label_free import LabelFree
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.settings import Settings
from tests.flows.helpers import changed, run_stages


def unit(vectors: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def test_the_score_is_that_of_the_cached_tokens_and_regions(finished: Settings) -> None:
    job = find_job(finished)
    run = EvaluatedRun.open(job)
    rows = run.evaluated_rows()
    whitening = load(run.checkpoint.read_file("whitening.safetensors"))
    tokens = job.checkpoint("extract").array("tokens").read_ahead(rows).result().astype(np.float64)
    assignment = job.checkpoint("segment").array("assignment").read_ahead(rows).result()
    scores = []
    for image, soft in zip(tokens, assignment, strict=True):
        whitened = unit((unit(image) - whitening["mean"]) @ whitening["projection"])
        own = soft.argmax(axis=1)
        together = own[:, None] == own[None, :]
        scores.append(((whitened @ whitened.T - EXPECTED_AFFINITY) * together).mean())
    found = read_results(job).of(LabelFree)
    assert found.score == pytest.approx(np.mean(scores), abs=1e-4)
    assert found.score_interval is not None
    assert found.score_interval.low <= found.score <= found.score_interval.high


def test_the_whitening_does_not_depend_on_the_segmenter(finished: Settings, copy: Settings) -> None:
    rival = changed(copy, segment={"segmenter": {"name": "kmeans", "num_regions": 2}})
    run_stages(rival, "evaluate")
    whitenings = [
        find_job(settings).checkpoint("evaluate").read_file("whitening.safetensors")
        for settings in (finished, rival)
    ]
    assert whitenings[0] == whitenings[1]
