"""All rival segmenters give valid assignments and find planted groups."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score

from dcn.segmenters.kmeans import kmeans_assignment
from dcn.segmenters.louvain import louvain_assignment
from dcn.segmenters.ncut import ncut_assignment
from dcn.segmenters.pixels import fit_pixel_clusters, pixel_assignment
from dcn.segmenters.spectral import spectral_assignment
from tests.dcn.segmenters.synthetic_tokens import Floats, check_assignment, planted

# Takes tokens [n, d] and a number of regions k; returns the assignment [n, k].
SegmentTokens = Callable[[Floats, int], Floats]
SEGMENTERS: dict[str, SegmentTokens] = {
    "kmeans": lambda tokens, k: kmeans_assignment(tokens, k, seed=0),
    "spectral": lambda tokens, k: spectral_assignment(tokens, k, seed=0),
    "ncut": ncut_assignment,
    "modularity": lambda tokens, k: louvain_assignment(tokens, k, seed=0),
    "pixels": lambda tokens, k: pixel_assignment(tokens, fit_pixel_clusters([tokens[None]], k, seed=0)),
}
by_segmenter = pytest.mark.parametrize("segment", SEGMENTERS.values(), ids=SEGMENTERS)


WITH_OPTIONS: dict[str, SegmentTokens] = {
    **SEGMENTERS,
    "spectral with colors": lambda tokens, k: spectral_assignment(
        tokens, k, seed=0, colors=np.zeros((len(tokens), 3), dtype=np.float32), color_weight=1.0
    ),
    "modularity of small regions": lambda tokens, k: louvain_assignment(tokens, k, seed=0, resolution=1.5),
}


@pytest.mark.parametrize("segment", WITH_OPTIONS.values(), ids=WITH_OPTIONS)
@given(st.data())
@settings(max_examples=60)
def test_any_tokens_give_an_assignment(segment: SegmentTokens, data: st.DataObject) -> None:
    n, d = data.draw(st.sampled_from([1, 4, 9, 16])), data.draw(st.integers(1, 3))
    k = data.draw(st.integers(1, 6))
    tokens = data.draw(arrays(np.float32, (n, d), elements=st.sampled_from([-1.0, 0.0, 1.0, 3.0])))
    assignment = segment(tokens, k)
    check_assignment(assignment, n, k)
    np.testing.assert_array_equal(segment(tokens, k), assignment)


@by_segmenter
@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(np.ones((1, 4), dtype=np.float32), id="one token"),
        pytest.param(np.zeros((1, 4), dtype=np.float32), id="one token of zeros"),
        pytest.param(np.zeros((25, 4), dtype=np.float32), id="zeros"),
        pytest.param(np.full((25, 4), 0.3, dtype=np.float32), id="constant"),
        pytest.param(np.full((4, 4), -7, dtype=np.float32), id="constant, and fewer than regions"),
    ],
)
def test_equal_tokens_are_one_region(segment: SegmentTokens, tokens: Floats) -> None:
    labels = check_assignment(segment(tokens, 5), len(tokens), 5)
    assert len(np.unique(labels)) == 1


@by_segmenter
@pytest.mark.parametrize("groups", [2, 3, 4])
def test_planted_groups_are_found(segment: SegmentTokens, groups: int) -> None:
    tokens, owner = planted(groups, 10, seed=groups)
    labels = check_assignment(segment(tokens, groups), 100, groups)
    assert adjusted_rand_score(owner, labels) == 1


@by_segmenter
@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")  # rounding must not make clusters
def test_duplicates_and_zeros_share_a_region(segment: SegmentTokens) -> None:
    owner = np.random.default_rng(0).permutation(np.arange(36) % 3)
    tokens = np.array([[3, 0, 1], [-1, 2, 0], [0, 0, 0]], dtype=np.float32)[owner]
    labels = check_assignment(segment(tokens, 5), 36, 5)
    assert adjusted_rand_score(owner[owner < 2], labels[owner < 2]) == 1
    assert len(np.unique(labels)) <= 3
