"""The rival segmenters, compared with their equations, scikit-learn, networkx and planted groups."""

import itertools
from collections.abc import Callable, Iterator

import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from dcn.errors import InvalidDatasetError, InvalidOptionError
from dcn.modularity import modularity
from dcn.regions import label_map
from dcn.segmenters import pixels
from dcn.segmenters.assignment import ABSENT, assignment_of, center_scores
from dcn.segmenters.kmeans import kmeans_assignment
from dcn.segmenters.laplacian import laplacian_eigenvectors
from dcn.segmenters.louvain import louvain_assignment, merge_communities
from dcn.segmenters.ncut import ncut_assignment
from dcn.segmenters.pixels import fit_pixel_clusters, pixel_assignment
from dcn.segmenters.spectral import border_background, color_affinity, spectral_assignment

Floats = npt.NDArray[np.float32]
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


def planted(groups: int, side: int, seed: int, noise: float = 0.05) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Tokens ``[side^2, 8]`` of random lengths around orthogonal directions, and their groups."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.arange(side**2) % groups)
    directions = np.linalg.qr(rng.normal(size=(8, 8)))[0][:groups]
    tokens = directions[owner] + noise * rng.normal(size=(side**2, 8))
    return (tokens * rng.uniform(0.5, 2, (side**2, 1))).astype(np.float32), owner


def random_tokens(n: int, d: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def cosine_affinity(tokens: Floats) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = normalize(tokens.astype(np.float64))
    return unit @ unit.T


def check_assignment(assignment: Floats, n: int, k: int) -> npt.NDArray[np.int64]:
    """Check what every assignment must fulfill; returns the label of each token."""
    assert assignment.shape == (n, k)
    assert assignment.dtype == np.float32
    assert ((assignment >= ABSENT) & (assignment <= 0)).all()  # NaN fails this as well
    labels: npt.NDArray[np.int64] = assignment.argmax(axis=1)
    np.testing.assert_array_equal(assignment.astype(np.float16).argmax(axis=1), labels)
    assert set(np.unique(label_map(assignment.astype(np.float16), 23, 19))) <= set(labels)
    return labels


# All segmenters


@pytest.mark.parametrize("segment", WITH_OPTIONS.values(), ids=WITH_OPTIONS)
@given(st.data())
@settings(max_examples=60, deadline=None)
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


# The assignment


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.booleans())
@settings(max_examples=100, deadline=None)
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


# k-means


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_kmeans_has_the_labels_of_scikit_learn(seed: int, k: int) -> None:
    tokens = random_tokens(64, 5, seed)
    unit = normalize(tokens)
    expected = KMeans(k, n_init=1, random_state=seed).fit(unit)
    np.testing.assert_array_equal(kmeans_assignment(tokens, k, seed).argmax(axis=1), expected.labels_)
    np.testing.assert_array_equal(
        center_scores(unit, expected.cluster_centers_).argmax(axis=1), expected.labels_
    )


# Spectral


@given(st.integers(0, 10_000), st.integers(2, 20), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
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


@pytest.mark.parametrize("seed", range(5))
def test_spectral_equals_scikit_learn(seed: int) -> None:
    tokens, _ = planted(4, 10, seed, noise=0.15)
    affinity = cosine_affinity(tokens).clip(min=0)
    expected = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(affinity)
    labels = spectral_assignment(tokens, 4, seed).argmax(axis=1)
    assert adjusted_rand_score(expected, labels) == 1


@pytest.mark.parametrize("k", [2, 3, 5])
def test_spectral_is_kmeans_on_the_eigenvectors_after_the_first(k: int) -> None:
    tokens = random_tokens(49, 4, seed=k) + 0.5
    affinity = cosine_affinity(tokens).clip(min=0)
    degrees = np.diag(affinity.sum(axis=1))
    points = eigh(degrees - affinity, degrees)[1][:, 1:k]
    expected = KMeans(k, n_init=100, random_state=0).fit(points)
    labels = spectral_assignment(tokens, k, seed=0).argmax(axis=1)
    spread = sum(((points[labels == c] - points[labels == c].mean(axis=0)) ** 2).sum() for c in range(k))
    assert spread == pytest.approx(expected.inertia_, rel=0.05)


def test_color_affinity_counts_nearest_neighbors() -> None:
    rng = np.random.default_rng(0)
    colors = rng.random((36, 3)).astype(np.float32)
    expected = np.zeros((36, 36))
    for neighbors, weight in ((20, 2.0), (10, 0.1)):
        features = [
            np.array([*colors[i], weight * (i % 6) / 5, weight * (i // 6) / 5], dtype=np.float64)
            for i in range(36)
        ]
        for i in range(36):
            distances = [np.linalg.norm(features[i] - other) for other in features]
            for j in np.argsort(distances)[:neighbors]:
                expected[i, j] += 1
                expected[j, i] += 1
    np.testing.assert_array_equal(color_affinity(colors), expected)


def test_colors_divide_equal_tokens() -> None:
    tokens = np.ones((100, 3), dtype=np.float32)
    colors = np.zeros((100, 3), dtype=np.float32)
    colors[40:] = 1
    labels = spectral_assignment(tokens, 2, seed=0, colors=colors, color_weight=10.0).argmax(axis=1)
    assert adjusted_rand_score(colors[:, 0], labels) == 1
    assert not spectral_assignment(tokens, 2, seed=0, colors=colors).argmax(axis=1).any()
    with pytest.raises(InvalidOptionError, match="colors"):
        spectral_assignment(tokens, 2, seed=0, color_weight=10.0)


def test_background_is_the_label_with_most_of_the_border() -> None:
    labels = np.full((6, 6), 2)
    labels[:, 1:5] = 0  # the largest, and four of six pixels of the top and the bottom
    labels[0, 1] = labels[-1, 1] = 1
    assert border_background(labels) == 2
    assert border_background(labels.T) == 2
    assert border_background(np.array([[1, 0], [0, 1]])) == 0


# Normalized cuts


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
@settings(max_examples=60, deadline=None)
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


# Modularity


def networkx_graph(tokens: Floats) -> "nx.Graph[int]":
    affinity = cosine_affinity(tokens).clip(min=0)
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(tokens)))
    for i, j in itertools.combinations_with_replacement(range(len(tokens)), 2):
        # networkx counts a self-loop twice in a degree, while equation 7 counts A_ii once.
        weight = affinity[i, j] / 2 if i == j else affinity[i, j]
        if weight > 0:
            graph.add_edge(i, j, weight=weight)
    return graph


def networkx_modularity(
    graph: "nx.Graph[int]", labels: npt.NDArray[np.int64], resolution: float = 1.0
) -> float:
    groups = [set(np.flatnonzero(labels == c).tolist()) for c in np.unique(labels)]
    return float(nx.community.modularity(graph, groups, weight="weight", resolution=resolution))


def modularity_of(tokens: Floats, labels: npt.NDArray[np.int64]) -> float:
    return modularity(
        torch.from_numpy(tokens)[None], F.one_hot(torch.from_numpy(labels))[None].float()
    ).item()


@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.7, 1.0, 1.4]))
@settings(max_examples=40, deadline=None)
def test_no_move_of_one_token_increases_modularity(seed: int, k: int, resolution: float) -> None:
    tokens = random_tokens(9, 3, seed)
    graph = networkx_graph(tokens)
    labels = louvain_assignment(tokens, k, seed, resolution).argmax(axis=1)
    reached = networkx_modularity(graph, labels, resolution)
    for token, region in itertools.product(range(9), np.unique(labels)):
        moved = labels.copy()
        moved[token] = region
        assert networkx_modularity(graph, moved, resolution) <= reached + 1e-9


def partitions(n: int) -> Iterator[list[int]]:
    """All partitions of ``n`` tokens, as restricted growth strings."""

    def grow(prefix: list[int]) -> Iterator[list[int]]:
        if len(prefix) == n:
            yield prefix
            return
        for label in range(max(prefix) + 2):
            yield from grow([*prefix, label])

    yield from grow([0])


def test_modularity_is_close_to_the_best_of_all_partitions() -> None:
    every = F.one_hot(torch.tensor(list(partitions(7))), 7).float()  # [877, 7, 7]
    ratios = []
    for seed in range(20):
        tokens = random_tokens(7, 3, seed)
        reached = modularity_of(tokens, louvain_assignment(tokens, 7, seed).argmax(axis=1))
        best = modularity(torch.from_numpy(tokens).expand(len(every), 7, 3), every).max().item()
        assert reached <= best + 1e-6
        ratios.append(reached / best)
    assert np.mean(ratios) > 0.97


@pytest.mark.parametrize("k", [2, 3, 5])
def test_modularity_beats_kmeans(k: int) -> None:
    for seed in range(10):
        tokens = random_tokens(64, 6, seed) + 0.5
        found = modularity_of(tokens, louvain_assignment(tokens, k, seed).argmax(axis=1))
        assert found >= modularity_of(tokens, kmeans_assignment(tokens, k, seed).argmax(axis=1))


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=60, deadline=None)
def test_the_pair_that_costs_least_modularity_is_merged(seed: int, resolution: float) -> None:
    tokens = random_tokens(12, 4, seed)
    graph = networkx_graph(tokens)
    affinity = cosine_affinity(tokens).clip(min=0)
    weights = affinity / affinity.sum()
    labels = kmeans_assignment(tokens, 5, seed).argmax(axis=1)
    merged = merge_communities(labels, weights, weights.sum(axis=1), 4, resolution)
    pairs = [np.where(labels == b, a, labels) for a, b in itertools.combinations(range(5), 2)]
    values = [networkx_modularity(graph, pair, resolution) for pair in pairs]
    assume(len(np.unique(merged)) == 4)  # further merges may gain as well
    assert networkx_modularity(graph, merged, resolution) == pytest.approx(max(values), abs=1e-12)


# k-means over the tokens of all photographs


def test_pixel_clusters_are_found_in_the_whole_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_START_TOKENS", 200)
    images, owners = zip(*(planted(4, 8, seed=9) for _ in range(3)))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(64) for _ in range(40)]
    stream = (np.stack([images[0][order], images[0][order[::-1]]]).astype(np.float16) for order in orders)
    centers = fit_pixel_clusters(stream, 4, seed=0)
    assert centers.shape == (4, 8)
    assert centers.dtype == np.float32
    assert next(stream, None) is None
    labels = pixel_assignment(images[0], centers).argmax(axis=1)
    assert adjusted_rand_score(owners[0], labels) == 1
    np.testing.assert_array_equal(labels, cdist(normalize(images[0]), centers).argmin(axis=1))


def test_pixel_clusters_without_tokens_are_an_error() -> None:
    with pytest.raises(InvalidDatasetError, match="no tokens"):
        fit_pixel_clusters([], 4, seed=0)
