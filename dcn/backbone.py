"""A frozen self-supervised ViT: photographs in, tokens, attention and region embeddings out."""

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

from dcn.errors import InvalidOptionError
from dcn.weights.presets import Precision, Preset, find_preset
from dcn.weights.pretrained import create_pretrained


@dataclass(frozen=True)
class Features:
    """What the frozen ViT says of a batch.

    Attributes:
        tokens: ``[B, n, d]`` float32, patches in row-major order.
        attention: ``[B, h, n]`` float32, attention of the CLS token to each patch; a row sums to at most 1
            (the rest goes to the prefix tokens).

    """

    tokens: Tensor
    attention: Tensor


class Backbone:
    """A ViT of timm, its preprocessing, and the three things that this project reads from it.

    Number of prefix tokens, patch size, mean and standard deviation come from the model.

    Args:
        model: an instance of timm's ``VisionTransformer`` or ``Eva`` with ``dynamic_img_size=True``.
        device: where it computes.
        precision: of its weights and its arithmetic. bfloat16 is several times as fast where the processor
            has units for it; docs/how-it-works/performance.md has its effect.

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
        config = cast(dict[str, Any], model.pretrained_cfg)
        self._mean = torch.tensor(config["mean"], device=self.device).view(3, 1, 1)
        self._std = torch.tensor(config["std"], device=self.device).view(3, 1, 1)
        for block in model.blocks:
            cast(Any, block).attn.fused_attn = True  # what is listened to, whatever the environment says
        # A forward pass uses all cores; two at once would wait for each other.
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
        """The pretrained backbone called ``name`` (a preset, or a ViT of timm), and its preset.

        Raises:
            UnknownModelError: nobody knows the name, or the model has no CLS token.
            WeightsUnavailableError: see :func:`dcn.weights.pretrained.create_pretrained`.

        """
        preset = find_preset(name)
        model = create_pretrained(name, preset, weights, dynamic_img_size=True, global_pool="token")
        assert isinstance(model, VisionTransformer | Eva), f"{name} is a {type(model).__name__}"
        return cls(model, device, precision), preset

    def grid(self, input_size: int) -> int:
        """Patches along one side of a square input of ``input_size`` pixels.

        Raises:
            InvalidOptionError: the side is not a multiple of the patch size.

        """
        if input_size % self.patch_size:
            near = max(1, round(input_size / self.patch_size)) * self.patch_size
            raise InvalidOptionError(
                f"input size {input_size} is not a multiple of the patch size {self.patch_size}; try {near}"
            )
        return input_size // self.patch_size

    def preprocess(self, photographs: npt.NDArray[np.uint8] | Tensor) -> Tensor:
        """Normalize ``[B, H, W, 3]`` uint8 to ``[B, 3, H, W]`` in the model's precision, on the device."""
        pixels = torch.as_tensor(photographs).to(self.device, non_blocking=True)
        scaled = pixels.permute(0, 3, 1, 2).float().div_(255)  # a copy of its own, changed in place
        return scaled.sub_(self._mean).div_(self._std).to(self._dtype)

    @torch.inference_mode()
    def features(self, inputs: Tensor, token_layer: int = -1, attention_block: int = -1) -> Features:
        """Tokens and CLS attention of preprocessed photographs ``[B, 3, H, W]`` (section 4.1.2).

        Args:
            inputs: from :meth:`preprocess`; H and W multiples of the patch size.
            token_layer: block whose output, after the model's final norm, gives the tokens; -1 is the last.
            attention_block: block whose self-attention is read; -1 is the last.

        """
        listener = _ClsAttention(self._index(attention_block))
        with self._one_at_a_time, listener:
            # Every block up to the deeper of the two runs; the first of the outputs is the tokens'.
            deeper = max(self._index(token_layer), self._index(attention_block))
            outputs = self.model.forward_intermediates(
                inputs,
                indices=sorted({self._index(token_layer), deeper}),
                norm=True,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
            )
        tokens = cast(list[Tensor], outputs)[0]  # [B, n, d]
        cls_to_patch = listener.attention[:, :, self.model.num_prefix_tokens :]  # [B, h, n]
        return Features(tokens.float(), cls_to_patch)

    @torch.inference_mode()
    def embed(self, inputs: Tensor, layer: int = -1) -> Tensor:
        """CLS token of a block's normalized output, ``[B, d]`` float32 (section 4.1.1)."""
        with self._one_at_a_time:
            outputs = self.model.forward_intermediates(
                inputs,
                indices=[self._index(layer)],
                return_prefix_tokens=True,
                norm=True,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
            )
        _, prefix_tokens = cast(list[tuple[Tensor, Tensor]], outputs)[0]  # [B, n, d], [B, prefix, d]
        return prefix_tokens[:, 0].float()

    def _index(self, layer: int) -> int:
        if not -self.depth <= layer < self.depth:
            raise InvalidOptionError(
                f"layer {layer} does not exist; the model has {self.depth} blocks, -1 is the last"
            )
        return layer % self.depth


class _ClsAttention(TorchFunctionMode):
    """Hears queries and keys of one block on their way into the fused attention of a forward pass.

    The fused kernel never forms the attention map, and only the row of the CLS token is wanted. What comes to
    the kernel is normalized and rotated already, where the model does that. Another thread is not heard.

    Args:
        block: number of the block; each calls the kernel once.

    Attributes:
        attention: ``[B, h, prefix + n]`` float32, of the CLS token to all tokens, after the forward pass.

    """

    attention: Tensor

    def __init__(self, block: int) -> None:
        super().__init__()
        self._blocks_before = block

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
                self.attention = logits.softmax(dim=-1, dtype=torch.float32)[:, :, 0]
            self._blocks_before -= 1
        return func(*args, **(kwargs or {}))
