"""The CLS token of one block of a ViT, without the work that other tokens and other patches would need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models import Eva, VisionTransformer
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from dcn.kernels.products import linear


def cls_token(
    model: VisionTransformer | Eva, inputs: Tensor, block: int, kept: Tensor | None = None
) -> Tensor:
    """Compute the CLS token of a block's output, after the final norm.

    The last block that runs computes the queries and the feed-forward of the CLS token alone, because no
    other token of its output is read. The result is that of the whole block, up to rounding.

    Args:
        model: a ViT with a CLS token.
        inputs: ``[B, 3, H, W]`` preprocessed.
        block: index of the block, from 0.
        kept: ``[B, n]`` bool, patches that the model gets; the others do not exist for it. Each kept patch
            has the position that it has in the picture. None keeps all patches.

    Returns:
        ``[B, d]`` in the precision of the model.

    """
    embedded = cast(Any, model)._pos_embed(model.patch_embed(inputs))
    x, rope = embedded if isinstance(embedded, tuple) else (embedded, None)  # [B, prefix + n, d]
    mask = None
    if kept is not None:
        order, filled = _padded_order(kept)  # [B, m] each
        prefix = model.num_prefix_tokens
        patches = x[:, prefix:].gather(1, order[..., None].expand(-1, -1, x.shape[2]))  # [B, m, d]
        x = torch.cat([x[:, :prefix], patches], dim=1)
        if not filled.all():
            mask = F.pad(filled, (prefix, 0), value=True)[:, None, None]  # [B, 1, 1, prefix + m]
        if rope is not None:
            rope = _rope_of_patches(rope, order)
    x = model.norm_pre(x)
    for number, layer in enumerate(list(model.blocks)[: block + 1]):
        # Mixed rotations differ between the blocks.
        rotation = rope[number] if rope is not None and getattr(model, "rope_mixed", False) else rope
        run = _LAST_BLOCKS.get(type(layer), _whole_block) if number == block else _whole_block
        x = run(layer, x, mask, rotation)
    cls: Tensor = model.norm(x[:, 0])
    return cls


def _padded_order(kept: Tensor) -> tuple[Tensor, Tensor]:
    """List the kept patches ``[B, m]`` of each picture in order, and which of the ``m`` places are filled."""
    counts = kept.sum(dim=1)  # [B]
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(counts.max())]  # [B, m]
    return order, torch.arange(order.shape[1], device=kept.device) < counts[:, None]


def _rope_of_patches(rope: Tensor, order: Tensor) -> Tensor:
    """Select the rotations of patches. ``[..., n, r]`` and ``[B, m]`` give ``[..., B, 1 or h, m, r]``."""
    if rope.ndim == 2:  # one rotation for all heads
        return rope[order][:, None]
    return rope[:, :, order].transpose(1, 2)  # [depth, h, n, r] -> [depth, h, B, m, r] -> [depth, B, h, m, r]


def _whole_block(block: nn.Module, x: Tensor, mask: Tensor | None, rope: Tensor | None) -> Tensor:
    options = {"attn_mask": mask, "rope": rope}
    output: Tensor = block(x, **{name: value for name, value in options.items() if value is not None})
    return output


def _last_block(block: nn.Module, x: Tensor, mask: Tensor | None, _: Tensor | None) -> Tensor:
    """Run a block of ``VisionTransformer`` for the CLS token. Returns ``[B, 1, d]``."""
    parts = cast(Any, block)
    if type(parts.attn) is not Attention or getattr(parts.attn, "gate", None) is not None:
        return _whole_block(block, x, mask, None)
    cls = x[:, :1]
    cls = cls + parts.drop_path1(parts.ls1(_attention_of_cls(parts.attn, parts.norm1(x), mask)))
    output: Tensor = cls + parts.drop_path2(parts.ls2(parts.mlp(parts.norm2(cls))))
    return output


def _last_eva_block(block: nn.Module, x: Tensor, mask: Tensor | None, rope: Tensor | None) -> Tensor:
    """Run a block of ``Eva`` for the CLS token. Its attention, which rotates, is computed for all tokens."""
    parts = cast(Any, block)
    attended = parts.attn(parts.norm1(x), rope=rope, attn_mask=mask)[:, :1]  # [B, 1, d]
    cls = x[:, :1] + parts.drop_path1(attended if parts.gamma_1 is None else parts.gamma_1 * attended)
    forwarded = parts.mlp(parts.norm2(cls))
    output: Tensor = cls + parts.drop_path2(forwarded if parts.gamma_2 is None else parts.gamma_2 * forwarded)
    return output


def _attention_of_cls(attention: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """Self-attention for the query of the CLS token: ``[B, 1, d]`` from ``[B, t, d]``."""
    heads = attention.num_heads
    weight, bias = attention.qkv.weight, attention.qkv.bias
    width = len(weight) // 3
    query = linear(x[:, :1], weight[:width], None if bias is None else bias[:width])  # [B, 1, width]
    rest = linear(x, weight[width:], None if bias is None else bias[width:])  # [B, t, 2 * width]
    key, value = rest.unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)  # [B, h, t, width / h] each
    query = query.unflatten(2, (heads, -1)).transpose(1, 2)  # [B, h, 1, width / h]
    query, key = attention.q_norm(query), attention.k_norm(key)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    output: Tensor = attention.proj(attention.norm(attended.transpose(1, 2).flatten(2)))
    return output


# Other blocks run as a whole.
_LAST_BLOCKS: dict[type[nn.Module], Callable[[nn.Module, Tensor, Tensor | None, Tensor | None], Tensor]] = {
    Block: _last_block,
    EvaBlock: _last_eva_block,
}
