"""Every benchmark through the stages, from the files of its authors to matched classes of all regions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.cli.export import export_labels
from flows.evaluation.protocols.foreground import Foreground
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.inputs.datasets import open_dataset
from flows.settings import Settings
from tests.dcn.datasets.test_benchmarks import EXPECTED, HEIGHT, IGNORED, LAYOUTS, WIDTH
from tests.flows.helpers import run_stages

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", LAYOUTS)
def test_all_regions_get_classes(name: str, tiny_config: dict[str, Any], tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            **tiny_config,
            "dataset": LAYOUTS[name](tmp_path / "data").model_dump(),
            "segment": {"segmenter": {"name": "kmeans", "num_regions": 2}},
            "evaluate": {
                "background": "none", "neighbors": [], "true_regions": False, "num_seeds": 1, "attainable_images": 0
            },
            "workspace": str(tmp_path / "workspace"),
        }
    )  # fmt: skip
    run_stages(settings, "evaluate")
    results, evaluated = read_results(find_job(settings)), EXPECTED[name][1]
    assert (results.images, results.labelled_images) == (len(evaluated), len(evaluated))
    assert results.find(Foreground) is None
    export_labels(settings, "semantic", tmp_path / "classes")
    dataset, hits, labelled = open_dataset(settings.dataset), 0, 0
    for item in dataset.items():
        if item.id in evaluated:
            mask = dataset.read_mask(item, HEIGHT, WIDTH)
            assert mask is not None
            found = np.asarray(Image.open(tmp_path / "classes" / f"{item.id}.png"))
            hits += int((found == mask).sum())
            labelled += int((mask != IGNORED).sum())
    assert results.of(KMeans).background == "none"
    assert results.of(KMeans).accuracy == pytest.approx(hits / labelled)
