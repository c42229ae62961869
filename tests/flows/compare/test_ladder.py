"""The ladder: each step stands on those before it, and the page shows its worth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import sem, t

from flows.compare.ladder import STEPS, ladder_variants
from flows.compare.page import write_comparison
from flows.compare.plots import half_interval, ladder_uri
from flows.compare.rows import Cell, ComparisonRow
from flows.settings import Settings
from tests.flows.helpers import changed, run_stages


@pytest.fixture(scope="module")
def settings(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    workspace = str(tmp_path_factory.mktemp("ladder") / "workspace")
    return Settings.model_validate({**tiny_config, "compare": {"seeds": [3]}, "workspace": workspace})


def test_each_step_keeps_the_settings_of_those_before_it(settings: Settings) -> None:
    paper, regions, *_, last = ladder_variants(settings)
    assert (paper.name, regions.name) == ("paper, seed = 3", "new regions, seed = 3")
    assert (paper.settings.train.whitened_dims, paper.settings.train.temperature) == (None, None)
    assert (regions.settings.train.whitened_dims, regions.settings.train.temperature) == (128, 0.1)
    assert (regions.settings.segment.refine, last.settings.segment.refine) == (False, True)
    assert last.settings.train == regions.settings.train
    assert {variant.settings.train.seed for variant in (paper, regions, last)} == {3}
    assert paper.settings.backbone == regions.settings.backbone == last.settings.backbone == settings.backbone


def test_without_seeds_of_comparisons_there_are_five(settings: Settings) -> None:
    variants = ladder_variants(changed(settings, compare={"seeds": []}))
    assert len(variants) == 5 * len(STEPS)
    assert [variant.settings.train.seed for variant in variants[:5]] == [0, 1, 2, 3, 4]
    assert {variant.row for variant in variants} == {f"{step}, 5 seeds" for step in STEPS}


def test_the_page_shows_every_step_and_its_ceiling(settings: Settings) -> None:
    variants = ladder_variants(settings)
    for variant in variants:
        run_stages(variant.settings, "evaluate")
    checkpoint, rows = write_comparison(variants)
    assert not any(row.chosen for row in rows)
    assert all(row.cells["true_regions_miou"].value is not None for row in rows)
    page = checkpoint.read_file("comparison.html").decode()
    assert page.count('alt="metrics of each step"') == 1
    found = json.loads(checkpoint.read_file("comparison.json"))
    assert [row["name"] for row in found] == [variant.name for variant in variants]
    unlabelled = {**rows[0].cells, "kmeans_miou": Cell(None), "kmeans_accuracy": Cell(None)}
    assert ladder_uri([ComparisonRow("a", "ladder", unlabelled)]) is None


def test_the_interval_is_that_of_the_mean_of_a_normal_sample() -> None:
    values = [0.1, 0.14, 0.12, 0.19, 0.11]
    row = ComparisonRow("a", "ladder", {"abo": Cell(float(np.mean(values)), float(np.std(values)))}, seeds=5)
    low, high = t.interval(0.95, 4, np.mean(values), sem(values))
    assert half_interval(row, "abo") == pytest.approx((high - low) / 2)
    alone = ComparisonRow(
        "a", "ladder", {"abo": Cell(0.1, 0.01)}
    )  # its deviation is over the seeds of k-means
    assert half_interval(alone, "abo") == 0
