"""Comparisons over several seeds of the training: one variant for each, and one row with their means."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from flows.compare.page import write_comparison
from flows.compare.rows import comparison_row, comparison_table
from flows.compare.seeds import table_rows
from flows.compare.variants import Variant, segmenter_variants
from flows.execution.plan import find_job
from flows.settings import Settings
from tests.flows.helpers import changed, run_stages


@pytest.fixture(scope="module")
def settings(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    compared = {"segmenters": ["dcn", "kmeans"], "num_regions": [3], "seeds": [0, 4, 7]}
    workspace = str(tmp_path_factory.mktemp("seeds") / "workspace")
    return Settings.model_validate({**tiny_config, "compare": compared, "workspace": workspace})


@pytest.fixture(scope="module")
def variants(settings: Settings) -> list[Variant]:
    found = segmenter_variants(settings)
    for variant in found:
        run_stages(variant.settings, "evaluate")
    return found


def test_only_a_trained_segmenter_has_a_variant_for_each_seed(settings: Settings) -> None:
    variants = segmenter_variants(settings)
    names = ["dcn, k = 3, seed = 0", "dcn, k = 3, seed = 4", "dcn, k = 3, seed = 7", "kmeans, k = 3"]
    assert [variant.name for variant in variants] == names
    assert [variant.settings.train.seed for variant in variants[:3]] == [0, 4, 7]
    assert [variant.row for variant in variants] == ["dcn, k = 3, 3 seeds"] * 3 + [""]
    one, _ = segmenter_variants(changed(settings, compare={"seeds": [4]}))
    assert (one.name, one.row, one.settings.train.seed) == ("dcn, k = 3, seed = 4", "", 4)
    one, _ = segmenter_variants(changed(settings, compare={"seeds": []}, train={"seed": 9}))
    assert (one.name, one.settings.train.seed) == ("dcn, k = 3", 9)


def test_a_row_has_the_means_over_the_seeds_and_their_deviation(variants: list[Variant]) -> None:
    over_seeds, kmeans = table_rows(variants)
    assert (over_seeds.name, over_seeds.group) == ("dcn, k = 3, 3 seeds", "dcn")
    assert kmeans == comparison_row(variants[3])
    single = [comparison_row(variant) for variant in variants[:3]]
    for column in ("abo", "class_covering", "rims", "kmeans_miou", "modularity", "regions_per_image"):
        values = [float(row.cells[column].value or 0) for row in single]
        assert over_seeds.cells[column].value == pytest.approx(np.mean(values), abs=1e-6)
        assert over_seeds.cells[column].deviation == pytest.approx(np.std(values), abs=1e-6)
    assert over_seeds.cells["published_miou"].value is None


def test_the_interval_is_that_of_the_mean_of_the_seeds(variants: list[Variant]) -> None:
    jobs = [find_job(variant.settings) for variant in variants[:3]]
    rows = [job.checkpoint("evaluate").array("region_measures").rows(0, 14)[:, 0] for job in jobs]
    means = np.mean(rows, axis=0)
    means = means[~np.isnan(means)].astype(float)
    expected = bootstrap((means,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
    found = table_rows(variants)[0].cells["class_covering"].interval
    assert found is not None
    tolerance = (expected.high - expected.low) / 8
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_table_and_page_have_one_row_for_all_seeds(variants: list[Variant]) -> None:
    checkpoint, rows = write_comparison(variants)
    titles, cells = comparison_table(rows)
    abo = rows[0].cells["abo"]
    assert abo.interval is not None
    text = f"{abo.value:.3f} [{abo.interval.low:.3f}, {abo.interval.high:.3f}] ± {abo.deviation:.3f}"
    assert cells[0][titles.index("average best overlap")] == text
    assert text in checkpoint.read_file("comparison.html").decode()
    stored, _ = json.loads(checkpoint.read_file("comparison.json"))
    assert stored["name"] == "dcn, k = 3, 3 seeds"
    assert (stored["abo"], stored["abo_deviation"]) == (abo.value, abo.deviation)
    assert stored["abo_interval"] == abo.interval.model_dump()
