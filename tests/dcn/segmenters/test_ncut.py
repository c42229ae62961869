"""Normalized cuts, compared with TokenCut's equations written out."""

import numpy as np
import numpy.typing as npt
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from sklearn.metrics import adjusted_rand_score

from dcn.segmenters.assignment import ABSENT, assignment_of
from dcn.segmenters.ncut import ncut_assignment
from tests.dcn.segmenters.synthetic_tokens import Floats, cosine_affinity, planted, random_tokens


def plain_cut(tokens: Floats, threshold: float) -> tuple[npt.NDArray[np.float64], float]:
    """Foreground degree of each token by TokenCut's equations, and the margin of the least clear decision."""
    weights = np.where(cosine_affinity(tokens) > threshold, 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    values, vectors = eigh(degrees - weights, degrees)
    x = vectors[:, 1]
    degree = x - x.mean()
    if degree[np.abs(x).argmax()] < 0:
        degree = -degree
    extremes = np.sort(np.abs([x.max(), x.min()]))
    gap = values[2] - values[1] if len(values) > 2 else 1.0
    margins = [gap, extremes[1] / extremes[0] - 1, np.abs(degree).min() / extremes[1]]
    return degree / np.abs(degree).max(), min(margins)


@given(st.integers(0, 10_000), st.sampled_from([9, 25, 49]), st.sampled_from([0.0, 0.2, 0.5]))
@settings(max_examples=60)
def test_cuts_equal_the_generalized_problem(seed: int, n: int, threshold: float) -> None:
    tokens = random_tokens(n, 4, seed) + 0.3
    degree, margin = plain_cut(tokens, threshold)
    assume(margin > 1e-4)
    assignment = ncut_assignment(tokens, 2, threshold)
    np.testing.assert_allclose(assignment[:, 0] - assignment[:, 1], degree, atol=1e-5)
    rest = np.flatnonzero(degree < 0)
    assume((cosine_affinity(tokens[rest]) <= threshold).any())
    second, margin = plain_cut(tokens[rest], threshold)
    assume(margin > 1e-4)
    scores = np.column_stack([degree, -degree, -degree])
    scores[rest, 1] = np.minimum(-degree[rest], second)
    scores[rest, 2] = np.minimum(-degree[rest], -second)
    expected = assignment_of(scores.argmax(axis=1), scores, 3)
    np.testing.assert_allclose(ncut_assignment(tokens, 3, threshold), expected, atol=1e-5)


def test_cutting_stops_when_nothing_is_left_to_cut() -> None:
    tokens, owner = planted(2, 6, seed=0)
    assignment = ncut_assignment(tokens, 5)
    assert set(assignment.argmax(axis=1)) == {0, 4}
    assert (assignment[:, 1:4] == ABSENT).all()
    assert adjusted_rand_score(owner, assignment.argmax(axis=1)) == 1
