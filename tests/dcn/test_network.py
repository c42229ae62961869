"""The folded attention against equations 1 to 4, and the two starts."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dcn.network import DynamicClusteringNetwork, PrototypeAttention, UpdateBlock


def plain_attention(module: PrototypeAttention, prototypes: Tensor, context: Tensor) -> Tensor:
    """Equation 1 and the increment of equation 2, head by head, with nothing folded."""
    c, x = prototypes, context
    wq, wk, wv, wo = (layer.weight.T for layer in (module.query, module.key, module.value, module.output))
    width = c.shape[-1] // module.heads
    heads = []
    for h in range(module.heads):
        part = slice(h * width, (h + 1) * width)
        logits = (c @ wq[:, part]) @ (x @ wk[:, part]).mT / width**0.5
        heads.append(logits.softmax(dim=-1) @ (x @ wv[:, part]))
    return torch.cat(heads, dim=-1) @ wo


@given(
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 4), st.sampled_from([1, 2, 4]), st.integers(0, 999)
)
@settings(max_examples=80)
def test_folded_attention_equals_the_equations(batch: int, n: int, k: int, heads: int, seed: int) -> None:
    torch.manual_seed(seed)
    module = PrototypeAttention(8, heads).double()
    prototypes = torch.randn(batch, k, 8, dtype=torch.float64, requires_grad=True)
    context = torch.randn(batch, n, 8, dtype=torch.float64)
    leaves = [prototypes, *module.parameters()]
    actual = module(prototypes, context)
    expected = plain_attention(module, prototypes, context)
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-9)
    weights = torch.randn_like(actual)
    for ours, theirs in zip(
        torch.autograd.grad((actual * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-8)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("self_update", [False, True])
def test_update_block_equals_a_plain_transformer_block(
    norm: Literal["post", "pre"], self_update: bool
) -> None:
    torch.manual_seed(1)
    block = UpdateBlock(8, 1, norm).double()
    c, x = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 7, 8, dtype=torch.float64)
    if norm == "post":
        updated = block.attention_norm(c + plain_attention(block.attention, c, c if self_update else x))
        expected = block.ffn_norm(updated + block.ffn(updated))
    else:
        normed = block.attention_norm(c)
        updated = c + plain_attention(block.attention, normed, normed if self_update else x)
        expected = updated + block.ffn(block.ffn_norm(updated))
    torch.testing.assert_close(block(c, None if self_update else x), expected)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_identity_start_begins_as_soft_kmeans(norm: Literal["post", "pre"]) -> None:
    torch.manual_seed(0)
    network = DynamicClusteringNetwork(16, num_prototypes=4, num_stages=3, norm=norm).double()
    tokens = torch.randn(2, 11, 16, dtype=torch.float64)

    def layer_norm(x: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x, (16,))

    c = network.prototypes.expand(2, -1, -1)
    for _ in range(3):
        query = layer_norm(c) if norm == "pre" else c
        responsibility = (query @ tokens.mT / 16**0.5).softmax(dim=-1)
        c = c + responsibility @ tokens
        if norm == "post":
            c = layer_norm(layer_norm(layer_norm(layer_norm(c))))
    torch.testing.assert_close(network(tokens), layer_norm(c) if norm == "pre" else c, atol=1e-4, rtol=1e-4)


def test_both_starts_are_the_same_network() -> None:
    shapes = [
        {name: value.shape for name, value in DynamicClusteringNetwork(8, start=start).named_parameters()}
        for start in ("identity", "random")
    ]
    assert shapes[0] == shapes[1]


def test_without_self_updates_the_dynamic_ones_follow_each_other() -> None:
    torch.manual_seed(0)
    network = DynamicClusteringNetwork(8, num_stages=3, self_update=False, start="random").double()
    tokens = torch.randn(2, 10, 8, dtype=torch.float64)
    centers = network.prototypes.expand(2, -1, -1)
    for block in network.dynamic_updates:
        centers = block(centers, tokens)
    torch.testing.assert_close(network(tokens), network.final_norm(centers))
    assert not any("self_updates" in name for name, _ in network.named_parameters())


def test_an_image_does_not_see_the_others_of_its_batch() -> None:
    torch.manual_seed(0)
    network = DynamicClusteringNetwork(8, start="random").double()
    tokens = torch.randn(3, 10, 8, dtype=torch.float64)
    torch.testing.assert_close(network(tokens)[1:2], network(tokens[1:2]))


def test_order_of_tokens_does_not_matter() -> None:
    torch.manual_seed(0)
    network = DynamicClusteringNetwork(8, start="random").double()
    tokens = torch.randn(1, 10, 8, dtype=torch.float64)
    torch.testing.assert_close(network(tokens), network(tokens[:, torch.randperm(10)]))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="tokens of width 10, which is not a multiple of 4 heads"):
        DynamicClusteringNetwork(10, heads=4)
    with pytest.raises(ValueError, match="tokens of width 6, which is not a multiple of 4 heads"):
        DynamicClusteringNetwork(8, heads=4, whitened_dims=6)
