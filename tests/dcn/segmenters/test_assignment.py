"""The assignment of a rival segmenter keeps its labels and upsamples like its scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.regions import label_map
from dcn.segmenters.assignment import assignment_of
from tests.dcn.segmenters.synthetic_tokens import check_assignment


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.booleans())
@settings(max_examples=100)
def test_the_label_of_a_token_wins_in_its_assignment(seed: int, columns: int, more: int, equal: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = np.zeros((9, columns)) if equal else rng.normal(size=(9, columns)) * 10.0 ** rng.integers(-9, 9)
    labels = rng.integers(0, columns, 9)
    assignment = assignment_of(labels, scores, columns + more)
    np.testing.assert_array_equal(check_assignment(assignment, 9, columns + more), labels)


@pytest.mark.parametrize("seed", range(5))
def test_an_assignment_upsamples_like_its_scores(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(49, 4))
    assignment = assignment_of(scores.argmax(axis=1), scores, 6)
    maps = [label_map(values.astype(np.float32), 60, 50) for values in (scores, assignment)]
    assert (maps[0] == maps[1]).mean() > 0.999  # rounding decides the rest
