"""The fast loss against the plain formulas of section 3.3, and against networkx."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dcn import affinity
from dcn import modularity as module
from dcn.modularity import cosine_assignment, modularity

# A function of tokens, assignment and resolution, and values of these.
Loss = Callable[[Tensor, Tensor, float], Tensor]
Problem = tuple[Tensor, Tensor, float]


def plain_modularity(tokens: Tensor, assignment: Tensor, resolution: float = 1.0) -> Tensor:
    """Equations 7 to 10 as they are written, image by image."""
    values = []
    for x, s in zip(tokens, assignment, strict=True):
        norms = x.norm(dim=1)
        unit = torch.where(norms[:, None] > 0, x / norms.clamp(min=1e-300)[:, None], 0)
        a = (unit @ unit.T).clamp(min=0)  # equation 8
        degrees = a.sum(dim=1)
        total = a.sum()  # 2m
        if total == 0:
            values.append((s * 0).sum())
            continue
        positive = s.clamp(min=0)
        delta = (positive[:, None, :] * positive[None, :, :]).max(dim=2).values  # equation 9
        null = resolution * degrees[:, None] * degrees[None, :] / total
        values.append(((a - null) * delta).sum() / total)  # equations 7 and 10
    return torch.stack(values)


def value_and_gradient(
    function: Loss, tokens: Tensor, assignment: Tensor, resolution: float
) -> tuple[Tensor, Tensor]:
    leaf = assignment.clone().requires_grad_()
    value = function(tokens, leaf, resolution)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    batch, n, d, k = (draw(st.integers(1, high)) for high in (3, 13, 6, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    tokens = torch.randn(batch, n, d, generator=generator, dtype=torch.float64)
    tokens += draw(st.sampled_from([0.0, 1.0, -3.0]))
    if draw(st.booleans()):  # duplicate tokens
        tokens[:, n // 2] = tokens[:, 0]
    if draw(st.booleans()):  # all-zero rows
        tokens[:, -1] = 0
    centers = torch.randn(batch, k, d, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):  # every pair has a tie
        centers[:, -1] = centers[:, 0]
    return tokens, cosine_assignment(tokens, centers), draw(st.sampled_from([0.5, 1.0, 2.0]))


@pytest.fixture(params=["compiled for the CPU", "PyTorch alone, as on other devices"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to sum over the pairs."""
    if request.param != "compiled for the CPU":
        monkeypatch.setattr(module, "cluster_sums_cpu", module.cluster_sums)


@pytest.mark.usefixtures("path")
@given(
    problems(), st.sampled_from([1, 7, 1 << 17]), st.sampled_from([1, 4, 112]), st.sampled_from([None, 0.1])
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_value_and_gradient_equal_the_plain_formulas(
    problem: Problem, block: int, strip: int, temperature: float | None
) -> None:
    tokens, assignment, resolution = problem

    def fast(tokens: Tensor, assignment: Tensor, resolution: float) -> Tensor:
        return modularity(tokens, assignment, resolution, temperature)

    def plain(tokens: Tensor, assignment: Tensor, resolution: float) -> Tensor:
        soft = assignment if temperature is None else (assignment / temperature).softmax(dim=-1)
        return plain_modularity(tokens, soft, resolution)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(affinity, "_STRIP", strip)
        value, gradient = value_and_gradient(fast, tokens, assignment, resolution)
    expected, expected_gradient = value_and_gradient(plain, tokens, assignment, resolution)
    torch.testing.assert_close(value, expected, atol=1e-13, rtol=1e-10)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-13, rtol=1e-9)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("where", ["tokens", "assignment"])
@pytest.mark.parametrize("cluster", [0, 2])
def test_what_is_not_a_number_shows(where: str, cluster: int) -> None:
    tokens, assignment = torch.randn(3, 8, 4), torch.rand(3, 8, 3)
    (tokens if where == "tokens" else assignment)[1, 5, cluster] = torch.nan
    assert modularity(tokens, assignment).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    """Of the sums over the pairs; the products are PyTorch's."""
    torch.manual_seed(0)
    tokens, assignment = torch.randn(4, 50, 8), torch.rand(4, 50, 3)
    expected = module.cluster_sums_cpu(tokens, assignment, 1.0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        sums = module.cluster_sums_cpu(tokens, assignment, 1.0)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(sums, expected)


@pytest.mark.usefixtures("path")
def test_float32_at_the_size_of_the_paper() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 784, 384) + 2 * torch.randn(2, 1, 384)
    assignment = cosine_assignment(tokens, tokens[:, ::160] + torch.randn(2, 5, 384))
    value, gradient = value_and_gradient(modularity, tokens, assignment, 1.0)
    exact, exact_gradient = value_and_gradient(plain_modularity, tokens.double(), assignment.double(), 1.0)
    torch.testing.assert_close(value.double(), exact, atol=1e-7, rtol=1e-5)
    # The gradient is a difference of sums that are almost equal. How much of it rounding takes depends on the
    # processor, so the plain formula in float32 on the same processor is the measure.
    _, plain_gradient = value_and_gradient(plain_modularity, tokens, assignment, 1.0)
    error, plain_error = ((g - exact_gradient).norm() for g in (gradient, plain_gradient))
    assert error < max(1e-3 * exact_gradient.norm(), 1.5 * plain_error)
    assert error < 1e-2 * exact_gradient.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tokens_are_computed_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tokens = (torch.randn(1, 784, 16) * 0.1 + 30).to(dtype)  # degrees of 784 in a graph of 614,656 edges
    assignment = torch.rand(1, 784, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = modularity(tokens, assignment)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, modularity(tokens.float(), assignment))


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=60)
def test_hard_partition_equals_networkx(seed: int, communities: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = torch.from_numpy(rng.normal(size=(1, 9, 3)))
    owner = rng.integers(0, communities, 9)
    assignment = F.one_hot(torch.from_numpy(owner), communities)[None].double()
    unit = F.normalize(tokens[0], dim=1)
    affinity = (unit @ unit.T).clamp(min=0).numpy()
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(9))
    for i in range(9):
        for j in range(i, 9):
            # networkx counts a self-loop twice in a degree, as equation 7 counts A_ii once.
            weight = affinity[i, j] / 2 if i == j else affinity[i, j]
            if weight > 0:
                graph.add_edge(i, j, weight=weight)
    groups = [set(np.flatnonzero(owner == c)) for c in range(communities) if (owner == c).any()]
    expected = nx.community.modularity(graph, groups, weight="weight", resolution=1.3)
    assert modularity(tokens, assignment, 1.3).item() == pytest.approx(expected, abs=1e-12)


def test_one_cluster_for_everything_is_worth_nothing() -> None:
    tokens = torch.randn(3, 20, 8, dtype=torch.float64)
    assignment = torch.ones(3, 20, 1, dtype=torch.float64)
    torch.testing.assert_close(
        modularity(tokens, assignment), torch.zeros(3, dtype=torch.float64), atol=1e-14, rtol=0
    )


def test_two_orthogonal_groups_reach_one_half() -> None:
    tokens = torch.eye(2, dtype=torch.float64).repeat_interleave(4, dim=0)[None]  # two groups of four
    assignment = cosine_assignment(tokens, torch.eye(2, dtype=torch.float64)[None])
    assert modularity(tokens, assignment).item() == pytest.approx(0.5)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_order_of_tokens_and_clusters_does_not_matter(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(1, 15, 4, generator=generator, dtype=torch.float64)
    assignment = torch.rand(1, 15, 4, generator=generator, dtype=torch.float64)
    rows, columns = torch.randperm(15, generator=generator), torch.randperm(4, generator=generator)
    shuffled = modularity(tokens[:, rows], assignment[:, rows][:, :, columns])
    torch.testing.assert_close(modularity(tokens, assignment), shuffled)


def test_an_image_of_zeros_is_zero_and_has_no_gradient() -> None:
    value, gradient = value_and_gradient(modularity, torch.zeros(1, 4, 3), torch.rand(1, 4, 2), 1.0)
    assert value.item() == 0
    assert not gradient.any()
