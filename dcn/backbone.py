"""A frozen self-supervised ViT that computes tokens, CLS attention and region embeddings (section 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from timm.models import Eva, VisionTransformer
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dcn.cls_token import cls_token
from dcn.errors import InvalidOptionError, UnreadableAttentionError
from dcn.kernels.frozen_layers import use_onednn
from dcn.weights.presets import Precision, Preset, find_preset
from dcn.weights.pretrained import create_pretrained


@dataclass(frozen=True)
class Features:
    """Tokens and CLS attention of a batch of photographs.

    Attributes:
        tokens: ``[B, n, d]`` float32, patches in row-major order.
        attention: ``[B, h, n]`` float32, attention weight of each patch for the CLS token, per head. A row
            sums to at most 1; the prefix tokens have the rest.
        more_tokens: tokens ``[B, n, d]`` of further layers, float32.

    """

    tokens: Tensor
    attention: Tensor
    more_tokens: tuple[Tensor, ...] = ()


class Backbone:
    """A frozen ViT of timm: preprocesses photographs, computes tokens, CLS attention and CLS embeddings.

    The number of prefix tokens, the patch size, and the mean and standard deviation of the pixels come from
    the model.

    Args:
        model: an instance of timm's ``VisionTransformer`` or ``Eva`` with ``dynamic_img_size=True``,
            changed in place.
        device: device of the model.
        precision: data type of weights and arithmetic. bfloat16 is several times as fast on a processor
            with units for it; ``docs/how-it-works/performance.md`` shows its effect on the results.

    Attributes:
        patch_size: side of a patch in pixels.
        depth: number of blocks.
        dim: width ``d`` of a token.
        heads: number of attention heads ``h``.

    Example:
        >>> backbone, preset = Backbone.from_preset("focus-s14")
        >>> inputs = backbone.preprocess(np.zeros((1, 224, 224, 3), dtype=np.uint8))
        >>> backbone.features(inputs).tokens.shape  # 16 x 16 patches
        torch.Size([1, 256, 384])
        >>> backbone.embed(inputs).shape
        torch.Size([1, 384])

    """

    def __init__(
        self,
        model: VisionTransformer | Eva,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, precision)
        self.model = model.to(self.device, self._dtype).eval().requires_grad_(False)
        use_onednn(self.model)
        config = cast(dict[str, Any], model.pretrained_cfg)
        self._mean = torch.tensor(config["mean"], device=self.device).view(3, 1, 1)
        self._std = torch.tensor(config["std"], device=self.device).view(3, 1, 1)
        for block in model.blocks:
            cast(Any, block).attn.fused_attn = True  # _ClsAttention reads it, whatever TIMM_FUSED_ATTN says
        # One forward pass uses all cores. Two at once would wait for each other.
        self._one_at_a_time = Lock()
        self.patch_size: int = model.patch_embed.patch_size[0]
        self.depth = len(model.blocks)
        self.dim: int = model.embed_dim
        self.heads = int(cast(Any, model.blocks[0]).attn.num_heads)

    @classmethod
    def from_preset(
        cls,
        name: str,
        weights: Path | None = None,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
    ) -> tuple[Backbone, Preset]:
        """Load a pretrained backbone by its name.

        Args:
            name: a preset (:data:`dcn.weights.presets.PRESETS`) or any ViT of timm.
            weights: local file of the weights; None takes timm's hub or the preset's package.
            device: device of the model.
            precision: data type of weights and arithmetic.

        Returns:
            The backbone, and its preset with the default settings for it.

        Raises:
            UnknownModelError: neither the presets nor timm know the name, or the model has no CLS token.
            WeightsUnavailableError: see :func:`dcn.weights.pretrained.create_pretrained`.

        """
        preset = find_preset(name)
        model = create_pretrained(name, preset, weights, dynamic_img_size=True, global_pool="token")
        assert isinstance(model, VisionTransformer | Eva), f"{name} is a {type(model).__name__}"
        return cls(model, device, precision), preset

    def grid(self, input_size: int) -> int:
        """Count the patches along one side of a square input of ``input_size`` pixels.

        Raises:
            InvalidOptionError: the side is not a multiple of the patch size.

        """
        if input_size % self.patch_size:
            near = max(1, round(input_size / self.patch_size)) * self.patch_size
            raise InvalidOptionError(
                f"input size {input_size} is not a multiple of the patch size {self.patch_size}; try {near}",
                parameter="input_size",
            )
        return input_size // self.patch_size

    def preprocess(self, photographs: npt.NDArray[np.uint8] | Tensor) -> Tensor:
        """Normalize photographs for the model.

        Args:
            photographs: ``[B, H, W, 3]`` uint8 RGB.

        Returns:
            ``[B, 3, H, W]`` in the model's precision, on its device.

        """
        pixels = torch.as_tensor(photographs).to(self.device, non_blocking=True)
        scaled = pixels.permute(0, 3, 1, 2).float().div_(255)  # float() copies, so in place is safe
        return scaled.sub_(self._mean).div_(self._std).to(self._dtype)

    @torch.inference_mode()
    def features(
        self,
        inputs: Tensor,
        token_layer: int = -1,
        attention_block: int = -1,
        more_layers: Sequence[int] = (),
    ) -> Features:
        """Compute tokens and CLS attention of preprocessed photographs (section 4.1.2).

        Args:
            inputs: ``[B, 3, H, W]`` from :meth:`preprocess`; H and W are multiples of the patch size.
            token_layer: block whose output gives the tokens, after the model's final norm; -1 is the last.
            attention_block: block whose self-attention gives the CLS attention; -1 is the last.
            more_layers: further blocks whose outputs give tokens. They cost no further pass.

        Raises:
            InvalidOptionError: the model has no such block.

        """
        listener = _ClsAttention(self._index(attention_block))
        with self._one_at_a_time, listener:
            # Every block up to the deepest of these has to run.
            blocks = [self._index(layer) for layer in (token_layer, *more_layers)]
            indices = sorted({*blocks, max(*blocks, self._index(attention_block))})
            outputs = self.model.forward_intermediates(
                inputs,
                indices=indices,
                norm=True,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
            )
        of_block = dict(zip(indices, cast(list[Tensor], outputs), strict=True))
        tokens, *more_tokens = (of_block[block].float() for block in blocks)  # [B, n, d] each
        cls_to_patch = listener.attention[:, :, self.model.num_prefix_tokens :]  # [B, h, n]
        return Features(tokens, cls_to_patch, tuple(more_tokens))

    @torch.inference_mode()
    def embed(self, inputs: Tensor, layer: int = -1, kept: Tensor | None = None) -> Tensor:
        """Compute embeddings: the CLS token of a block's output, after the final norm (section 4.1.1).

        Args:
            inputs: ``[B, 3, H, W]``, photographs from :meth:`preprocess` or crops from
                :func:`dcn.crops.masked_inputs`.
            layer: block whose output is read; -1 is the last.
            kept: ``[B, n]`` bool, the patches that the model gets, at least one of each picture; None gives
                it all of them (:func:`dcn.cls_token.cls_token`).

        Returns:
            ``[B, d]`` float32.

        Raises:
            InvalidOptionError: the model has no such block.

        """
        with self._one_at_a_time:
            return cls_token(self.model, inputs, self._index(layer), kept).float()

    def _index(self, layer: int) -> int:
        if not -self.depth <= layer < self.depth:
            raise InvalidOptionError(
                f"layer {layer} does not exist; the model has {self.depth} blocks: choose from "
                f"-{self.depth} (the first) to -1 (the last)"
            )
        return layer % self.depth


class _ClsAttention(TorchFunctionMode):
    """Computes the CLS attention of one block from the queries and keys that enter its fused kernel.

    The fused kernel never forms the attention map, and only the row of the CLS token is needed. Queries and
    keys enter the kernel after the normalization and the rotation of the models that have them. The mode is
    active in the current thread only.

    Args:
        block: index of the block, from 0. Each block calls the kernel once.

    Attributes:
        attention: attention of the CLS token to all tokens after the forward pass, ``[B, h, prefix + n]``
            float32.

    Raises:
        UnreadableAttentionError: ``attention`` is read, but the block did not call the fused attention.

    """

    def __init__(self, block: int) -> None:
        super().__init__()
        self._block = self._blocks_before = block
        self._attention: Tensor | None = None

    @property
    def attention(self) -> Tensor:
        if self._attention is None:
            raise UnreadableAttentionError(
                f"block {self._block} of the backbone did not call PyTorch's scaled_dot_product_attention, "
                f"so its attention cannot be read; this version of timm computes attention in another way"
            )
        return self._attention

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            if self._blocks_before == 0:
                query, key = args[0][:, :, :1], args[1]  # [B, h, 1, d/h] and [B, h, prefix + n, d/h]
                logits = (query * query.shape[-1] ** -0.5) @ key.mT
                self._attention = logits.softmax(dim=-1, dtype=torch.float32)[:, :, 0]
            self._blocks_before -= 1
        return func(*args, **(kwargs or {}))
