"""The choice of a sweep: the row with the best label-free score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flows.compare.rows import ComparisonRow
from flows.compare.variants import Variant
from flows.execution.plan import find_job


def choose(rows: Sequence[ComparisonRow], variants: Sequence[Variant]) -> list[ComparisonRow]:
    """Mark the row of a sweep with the largest label-free score.

    No row is marked in a comparison of segmenters, because the score favors those that maximize modularity;
    and none if the variants have different tokens, because their scores do not compare. If all have the
    same regions, their scores are equal, and none is marked.

    Args:
        rows: rows of the table.
        variants: the variants of these rows.

    Returns:
        The rows, in the same order.

    """
    tokens = {find_job(one.settings, listing=one.listing).checkpoint("extract").key for one in variants}
    swept = all(variant.group == "sweep" for variant in variants)
    if not swept or len(tokens) > 1 or len(rows) < 2:
        return list(rows)
    best = max(rows, key=_score)
    if all(_score(row) == _score(best) for row in rows):
        return list(rows)
    return [replace(row, chosen=row is best) for row in rows]


def _score(row: ComparisonRow) -> float:
    score = row.cells["label_free_score"].value
    assert isinstance(score, float)
    return score
