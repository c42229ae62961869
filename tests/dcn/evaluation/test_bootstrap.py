"""Bootstrap intervals against those of SciPy, and rank correlations against SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, spearmanr

from dcn.evaluation.bootstrap import Interval, bootstrap_interval, mean_interval
from dcn.evaluation.rank_correlation import rank_correlation


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).gamma(2, size=200)
    found = mean_interval(values)
    other = bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=1).confidence_interval
    width = other.high - other.low
    assert found is not None
    assert found.low == pytest.approx(other.low, abs=width / 10)
    assert found.high == pytest.approx(other.high, abs=width / 10)
    assert mean_interval(values) == found


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    samples = [mean_interval(rng.normal(size=100)) for _ in range(200)]
    assert 0.88 < np.mean([one.low < 0 < one.high for one in samples if one]) < 0.99


def test_intervals_that_are_not_defined() -> None:
    assert mean_interval(np.ones(0)) is None
    assert mean_interval(np.ones(1)) is None
    assert mean_interval(np.ones(2)) == Interval(low=1, high=1)
    assert bootstrap_interval(lambda rows: float("nan"), 5) is None
    # Resamples in which the statistic is not defined are left out.
    assert bootstrap_interval(lambda rows: 3.0 if rows[0] else float("nan"), 5) == Interval(low=3, high=3)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=2, max_size=30))
def test_rank_correlation_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, np.float64).T
    found = rank_correlation(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic)


def test_rank_correlation_by_hand() -> None:
    numbers = np.array([1.0, 2.0, 3.0, 10.0])
    assert rank_correlation(numbers, numbers**3) == 1
    assert rank_correlation(numbers, -numbers) == -1
    assert np.isnan(rank_correlation(numbers[:0], numbers[:0]))
