"""The Dynamic Clustering Network: prototypes in, cluster centers of one image out (section 3.1)."""

from __future__ import annotations

from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor, nn

from dcn.errors import InvalidOptionError
from dcn.kernels.attention_cpu import TokenAttention
from dcn.kernels.products import Linear, product


def attend(queries: Tensor, context: Tensor) -> Tensor:
    """``softmax(Q X^T) X`` of ``Q [B, q, d]`` and ``X [B, n, d]``: ``[B, q, d]``."""
    if (
        queries.requires_grad
        and not context.requires_grad
        and context.device.type == "cpu"
        and context.dtype in {torch.float32, torch.float64}
    ):  # training, where compiling it pays
        result: Tensor = TokenAttention.apply(queries, context)
        return result
    return (queries @ context.mT).softmax(dim=-1) @ context


class PrototypeAttention(nn.Module):
    """Scaled dot-product attention of ``k`` prototypes over ``n`` vectors (equations 1 to 4).

    As ``k`` is much smaller than ``n``, the projections of the ``n`` vectors are folded onto the side of
    the prototypes, head by head: ``(C Wq)(X Wk)^T = (C Wq Wk^T) X^T`` and
    ``softmax(.)(X Wv) = (softmax(.) X) Wv``. Exact, and ``k n d`` instead of ``n d^2`` operations.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise InvalidOptionError(f"token width {dim} is not a multiple of {heads} heads")
        self.heads = heads
        self.query = Linear(dim, dim, bias=False)
        self.key = Linear(dim, dim, bias=False)
        self.value = Linear(dim, dim, bias=False)
        self.output = Linear(dim, dim, bias=False)

    def forward(self, prototypes: Tensor, context: Tensor) -> Tensor:
        """Attend from ``prototypes [B, k, d]`` to ``context [B, n, d]``; returns ``[B, k, d]``."""
        batch, k, dim = prototypes.shape
        if self.heads == 1:  # nothing is copied to take the heads apart and to join them again
            folded = product(self.query(prototypes).flatten(0, 1), self.key.weight.mT).view(batch, k, dim)
            gathered = attend(folded * dim**-0.5, context)
            return self.output(self.value(gathered))  # type: ignore[no-any-return]
        heads, width = self.heads, dim // self.heads
        # The head stands first and the images are rows, so that no weight is repeated for every image.
        queries = self.query(prototypes).view(batch * k, heads, width).unbind(1)  # h times [B*k, d/h]
        keys, values = (layer.weight.view(heads, width, dim) for layer in (self.key, self.value))
        folded = torch.stack([product(query, key.mT) for query, key in zip(queries, keys, strict=True)])
        folded = folded.view(heads, batch, k, dim).transpose(0, 1).reshape(batch, heads * k, dim)
        gathered = attend(folded * width**-0.5, context).view(batch, heads, k, dim)
        rows = gathered.transpose(0, 1).reshape(heads, batch * k, dim)
        value = torch.cat([product(row, weight) for row, weight in zip(rows, values, strict=True)], dim=-1)
        result: Tensor = self.output(value.view(batch, k, dim))
        return result


class UpdateBlock(nn.Module):
    """One update of the prototypes and its feed-forward network, with layer normalization."""

    def __init__(self, dim: int, heads: int, norm: Literal["post", "pre"]) -> None:
        super().__init__()
        self.norm = norm
        self.attention = PrototypeAttention(dim, heads)
        self.attention_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(Linear(dim, 4 * dim), nn.GELU(), Linear(4 * dim, dim))
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(self, prototypes: Tensor, tokens: Tensor | None) -> Tensor:
        """Update ``[B, k, d]`` by the tokens ``[B, n, d]``, or by each other where ``tokens`` is None."""
        updated: Tensor
        if self.norm == "post":
            context = prototypes if tokens is None else tokens
            prototypes = self.attention_norm(prototypes + self.attention(prototypes, context))
            updated = self.ffn_norm(prototypes + self.ffn(prototypes))
            return updated
        normed = self.attention_norm(prototypes)
        prototypes = prototypes + self.attention(normed, normed if tokens is None else tokens)
        updated = prototypes + self.ffn(self.ffn_norm(prototypes))
        return updated


class DynamicClusteringNetwork(nn.Module):
    """Maps learnable prototypes to the cluster centers of an image (figure 3).

    Args:
        dim: width ``d`` of the tokens.
        num_prototypes: the most regions that an image can have (``k``; 5 in section 4.1.2).
        num_stages: stages, each a dynamic update and then a self-update (6 in section 4.1.2).
        heads: attention heads of the updates (1: equation 1 divides by the root of ``d``).
        self_update: False leaves the self-updates out (an ablation).
        norm: ``"post"`` as in section 3.1, or ``"pre"``.
        start: ``"identity"`` lets every dynamic update begin as one step of soft k-means (its
            projections are identities) and every self-update and feed-forward network begin as the
            identity (their output weights are zero). ``"random"`` is PyTorch's usual initialization.
            The same function class with the same number of parameters; see ``docs/how-it-works/training.md``.

    """

    def __init__(
        self,
        dim: int,
        num_prototypes: int = 5,
        num_stages: int = 6,
        heads: int = 1,
        self_update: bool = True,
        norm: Literal["post", "pre"] = "pre",
        start: Literal["identity", "random"] = "identity",
    ) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(num_prototypes, dim))
        self.dynamic_updates = nn.ModuleList(UpdateBlock(dim, heads, norm) for _ in range(num_stages))
        self.self_updates = nn.ModuleList(
            UpdateBlock(dim, heads, norm) for _ in range(num_stages if self_update else 0)
        )
        self.final_norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        if start == "identity":
            self._start_as_soft_kmeans()

    def forward(self, tokens: Tensor) -> Tensor:
        """Cluster centers ``[B, k, d]`` of the tokens ``[B, n, d]`` of ``B`` images."""
        centers = self.prototypes.expand(len(tokens), -1, -1)  # [B, k, d]
        for dynamic_update, self_update in zip_longest(self.dynamic_updates, self.self_updates):
            centers = dynamic_update(centers, tokens)
            if self_update is not None:
                centers = self_update(centers, None)
        result: Tensor = self.final_norm(centers)
        return result

    @torch.no_grad()
    def _start_as_soft_kmeans(self) -> None:
        for block in [*self.dynamic_updates, *self.self_updates]:
            assert isinstance(block, UpdateBlock)
            output = block.ffn[2]
            assert isinstance(output, nn.Linear)
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
        for block in self.dynamic_updates:
            assert isinstance(block, UpdateBlock)
            for projection in (block.attention.query, block.attention.key, block.attention.value):
                nn.init.eye_(projection.weight)
            nn.init.eye_(block.attention.output.weight)
        for block in self.self_updates:
            assert isinstance(block, UpdateBlock)
            nn.init.zeros_(block.attention.output.weight)


@torch.inference_mode()
def image_centers(network: DynamicClusteringNetwork, tokens: Tensor) -> Tensor:
    """Cluster centers ``[B, k, d]`` float32 of tokens ``[B, n, d]``, in the precision of the network."""
    centers: Tensor = network(tokens.to(network.prototypes.dtype))
    return centers.float()
