"""The choice of a sweep: the best label-free score, and no choice where scores do not compare."""

from typing import Any

import pytest

from flows.compare.choice import choose
from flows.compare.rows import comparison_table
from flows.compare.seeds import table_rows
from flows.compare.variants import Variant, segmenter_variants, sweep_variants
from flows.evaluation.protocols.label_free import LabelFree
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.settings import Settings
from tests.flows.helpers import changed, run_stages


def run(variants: list[Variant]) -> list[Variant]:
    for variant in variants:
        run_stages(variant.settings, "evaluate")
    return variants


def swept(settings: Settings, **over: list[Any]) -> list[Variant]:
    names = {name.replace("__", "."): values for name, values in over.items()}
    return run(sweep_variants(changed(settings, sweep={"over": names})))


def test_a_sweep_marks_the_row_with_the_best_score(copy: Settings) -> None:
    variants = swept(copy, segment__segmenter=[{"name": "kmeans", "num_regions": k} for k in (1, 2, 4)])
    rows = choose(table_rows(variants), variants)
    scores = [read_results(find_job(one.settings)).of(LabelFree).score for one in variants]
    assert [row.chosen for row in rows] == [score == max(scores) for score in scores]
    _, cells = comparison_table(rows)
    assert [cell[0].startswith("→ ") for cell in cells] == [row.chosen for row in rows]
    assert [row.to_json()["chosen"] for row in rows] == [row.chosen for row in rows]


@pytest.mark.parametrize("kind", ["segmenters", "other tokens", "one variant", "equal regions"])
def test_no_row_is_marked_where_the_scores_do_not_compare(copy: Settings, kind: str) -> None:
    if kind == "segmenters":
        compared = changed(copy, compare={"segmenters": ["kmeans", "ncut"], "num_regions": [2]})
        variants = run(segmenter_variants(compared))
    elif kind == "other tokens":
        kmeans = changed(copy, segment={"segmenter": {"name": "kmeans"}})
        variants = swept(kmeans, backbone__token_layer=[-1, -2])
    elif kind == "equal regions":
        variants = swept(copy, evaluate__overclustering=[1, 2])
    else:
        variants = swept(copy, segment__segmenter=[{"name": "kmeans"}])
    rows = choose(table_rows(variants), variants)
    assert not any(row.chosen for row in rows)
