"""Louvain's search for modularity, compared with networkx and with all partitions."""

import itertools
from collections.abc import Iterator

import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dcn.modularity import modularity
from dcn.segmenters.kmeans import kmeans_assignment
from dcn.segmenters.louvain import louvain_assignment, merge_communities
from tests.dcn.segmenters.synthetic_tokens import Floats, cosine_affinity, random_tokens


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
@settings(max_examples=40)
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
@settings(max_examples=60)
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
