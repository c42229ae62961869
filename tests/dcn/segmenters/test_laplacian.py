"""Eigenvectors of the Laplacian, compared with the generalized eigenproblem written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.segmenters.laplacian import laplacian_eigenvectors
from tests.dcn.segmenters.synthetic_tokens import cosine_affinity, random_tokens


@given(st.integers(0, 10_000), st.integers(2, 20), st.integers(1, 5))
@settings(max_examples=60)
def test_eigenvectors_solve_the_problem_of_the_plain_laplacian(seed: int, n: int, count: int) -> None:
    affinity = cosine_affinity(random_tokens(n, 3, seed)).clip(min=0) + 0.01
    degrees = np.diag(affinity.sum(axis=1))
    root = np.diag(affinity.sum(axis=1) ** -0.5)
    expected = np.linalg.eigh(np.eye(n) - root @ affinity @ root)[0][1 : count + 1]
    vectors = laplacian_eigenvectors(affinity, count)
    assert vectors.shape == (n, min(count, n - 1))
    for x, value in zip(vectors.T, expected):
        if value > 1 - 1e-7:
            continue
        np.testing.assert_allclose((degrees - affinity) @ x, value * degrees @ x, atol=1e-8)
        assert (degrees @ x).sum() == pytest.approx(0, abs=1e-8)
        assert x @ degrees @ x == pytest.approx(affinity.sum())
