"""The Dynamic Clustering Network: turns prototypes into the cluster centers of an image (section 3.1)."""

from __future__ import annotations

from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor, nn

from dcn.errors import InvalidOptionError
from dcn.kernels.attention_cpu import TokenAttention
from dcn.kernels.products import Linear, product
from dcn.whitening import TokenWhitening


def attend(queries: Tensor, context: Tensor) -> Tensor:
    """Average context vectors with softmax attention: ``softmax(Q X^T) X``.

    Args:
        queries: ``Q``, ``[B, q, d]``, already scaled.
        context: ``X``, ``[B, n, d]``.

    Returns:
        ``[B, q, d]``.

    """
    if (
        queries.requires_grad
        and not context.requires_grad
        and context.device.type == "cpu"
        and context.dtype in {torch.float32, torch.float64}
    ):  # training on a CPU, where the compiled kernel is faster
        result: Tensor = TokenAttention.apply(queries, context)
        return result
    return (queries @ context.mT).softmax(dim=-1) @ context


class PrototypeAttention(nn.Module):
    """Scaled dot-product attention of ``k`` prototypes over ``n`` vectors (equations 1 to 4).

    As ``k`` is much smaller than ``n``, the projections of the ``n`` vectors are folded onto the side of
    the prototypes, head by head: ``(C Wq)(X Wk)^T = (C Wq Wk^T) X^T`` and
    ``softmax(.)(X Wv) = (softmax(.) X) Wv``. This is exact, and needs ``k n d`` instead of ``n d^2``
    operations.

    Args:
        dim: width ``d`` of prototypes and tokens.
        heads: number of attention heads.

    Raises:
        InvalidOptionError: ``dim`` is not a multiple of ``heads``.

    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise InvalidOptionError(
                f"the network works on tokens of width {dim}, which is not a multiple of {heads} heads; "
                f"set heads to a divisor of the width",
                parameter="heads",
            )
        self.heads = heads
        self.query = Linear(dim, dim, bias=False)
        self.key = Linear(dim, dim, bias=False)
        self.value = Linear(dim, dim, bias=False)
        self.output = Linear(dim, dim, bias=False)

    def forward(self, prototypes: Tensor, context: Tensor) -> Tensor:
        """Attend from the prototypes ``[B, k, d]`` to the context ``[B, n, d]``. Returns ``[B, k, d]``."""
        batch, k, dim = prototypes.shape
        if self.heads == 1:  # without the copies that split and join the heads
            folded = product(self.query(prototypes).flatten(0, 1), self.key.weight.mT).view(batch, k, dim)
            gathered = attend(folded * dim**-0.5, context)
            return self.output(self.value(gathered))  # type: ignore[no-any-return]
        heads, width = self.heads, dim // self.heads
        # One product per head over the rows of all images: a batched product would copy the weights.
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
    """One update of the prototypes: attention, feed-forward network, layer normalization (section 3.1).

    Args:
        dim: width ``d`` of prototypes and tokens.
        heads: number of attention heads.
        norm: ``"post"`` normalizes after each residual sum, ``"pre"`` before attention and feed-forward
            network.

    """

    def __init__(self, dim: int, heads: int, norm: Literal["post", "pre"]) -> None:
        super().__init__()
        self.norm = norm
        self.attention = PrototypeAttention(dim, heads)
        self.attention_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(Linear(dim, 4 * dim), nn.GELU(), Linear(4 * dim, dim))
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(self, prototypes: Tensor, tokens: Tensor | None) -> Tensor:
        """Update the prototypes ``[B, k, d]`` by attention. Returns ``[B, k, d]``.

        Args:
            prototypes: ``[B, k, d]``.
            tokens: ``[B, n, d]`` for a dynamic update (equations 1 and 2); None for a self-update, where
                the prototypes attend to each other (equations 3 and 4).

        """
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
    """The DCN: maps learnable prototypes to the cluster centers of each image (figure 3, section 3.1).

    Args:
        dim: width ``d`` of the tokens.
        num_prototypes: number of prototypes ``k``, the largest number of regions in an image (5 in
            section 4.1.2).
        num_stages: number of stages, each a dynamic update and then a self-update (6 in section 4.1.2).
        heads: number of attention heads in each update. Equation 1 divides by ``sqrt(d)``, so the paper
            has 1.
        self_update: False leaves the self-updates out (an ablation).
        norm: position of the layer normalization, ``"post"`` as in section 3.1, or ``"pre"``.
        start: initial weights. With ``"identity"`` the projections of every dynamic update are identities, so
            it adds one step of soft k-means to the prototypes. The output weights of every self-update and
            feed-forward network are zero, so they add nothing at first. ``"random"`` is PyTorch's usual
            initialization. Both have the same parameters; ``docs/how-it-works/training.md`` compares them.
        whitened_dims: width of the whitened tokens on which the network works, see
            :class:`dcn.whitening.TokenWhitening`. None takes the tokens as they are, as the paper does.

    Raises:
        InvalidOptionError: the width of the tokens on which the network works is not a multiple of ``heads``.

    Example:
        >>> network = DynamicClusteringNetwork(dim=384, num_prototypes=5)
        >>> tokens = torch.randn(2, 784, 384)  # two images of 28 x 28 patches
        >>> network(tokens).shape
        torch.Size([2, 5, 384])

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
        whitened_dims: int | None = None,
    ) -> None:
        super().__init__()
        self.whitening = None if whitened_dims is None else TokenWhitening(dim, whitened_dims)
        if self.whitening is not None:
            dim = self.whitening.width
        prototypes = torch.empty(num_prototypes, dim)
        if not prototypes.is_meta:  # on that device, normal_ imports sympy, which takes half a second
            prototypes.normal_()
        self.prototypes = nn.Parameter(prototypes)
        self.dynamic_updates = nn.ModuleList(UpdateBlock(dim, heads, norm) for _ in range(num_stages))
        self.self_updates = nn.ModuleList(
            UpdateBlock(dim, heads, norm) for _ in range(num_stages if self_update else 0)
        )
        self.final_norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        if start == "identity":
            self._start_as_soft_kmeans()

    def project(self, tokens: Tensor) -> Tensor:
        """Map tokens ``[B, n, d]`` of the backbone to those that the network works on, ``[B, n, p]``.

        With ``whitened_dims`` these are whitened tokens, without they are the tokens themselves.
        """
        return tokens if self.whitening is None else self.whitening(tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute cluster centers ``[B, k, p]`` from the projected tokens ``[B, n, p]`` of ``B`` images."""
        centers = self.prototypes.expand(tokens.shape[0], -1, -1)  # [B, k, d]
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
            attention = block.attention
            for projection in (attention.query, attention.key, attention.value, attention.output):
                # On the device meta, torch.eye and nn.init.eye_ import sympy, which takes a second.
                projection.weight.zero_().fill_diagonal_(1)
        for block in self.self_updates:
            assert isinstance(block, UpdateBlock)
            nn.init.zeros_(block.attention.output.weight)


@torch.inference_mode()
def image_centers(network: DynamicClusteringNetwork, tokens: Tensor) -> Tensor:
    """Compute cluster centers without gradients, in the precision of the network.

    Args:
        network: a trained network in evaluation mode.
        tokens: projected tokens ``[B, n, p]`` of ``B`` images, on the network's device, see
            :meth:`DynamicClusteringNetwork.project`.

    Returns:
        ``[B, k, p]`` float32.

    """
    centers: Tensor = network(tokens.to(network.prototypes.dtype))
    return centers.float()
