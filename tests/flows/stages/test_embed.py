"""``embed``: which regions are embedded, and that the others change no embedding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.execution.plan import find_job
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
