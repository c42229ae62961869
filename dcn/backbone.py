"""A frozen self-supervised ViT: photographs in, tokens, attention and region embeddings out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from timm.models import Eva, VisionTransformer
from torch import Tensor

from dcn.errors import InvalidOptionError
from dcn.presets import Precision, Preset, find_preset
from dcn.weights import create_pretrained


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
            has units for it; docs/performance.md has its effect.

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
        # While a thread reads the attention of a block, it hears of every batch that goes through that block.
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
            WeightsUnavailableError: see :func:`dcn.weights.create_pretrained`.

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
        scaled = pixels.permute(0, 3, 1, 2).float() / 255
        return ((scaled - self._mean) / self._std).to(self._dtype)

    @torch.inference_mode()
    def features(self, inputs: Tensor, token_layer: int = -1, attention_block: int = -1) -> Features:
        """Tokens and CLS attention of preprocessed photographs ``[B, 3, H, W]`` (section 4.1.2).

        Args:
            inputs: from :meth:`preprocess`; H and W multiples of the patch size.
            token_layer: block whose output, after the model's final norm, gives the tokens; -1 is the last.
            attention_block: block whose self-attention is read; -1 is the last.

        """
        prefix = self.model.num_prefix_tokens
        with self._one_at_a_time, self._reading_attention(attention_block) as attention:
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
        cls_to_patch = attention[0][:, :, 0, prefix:]  # [B, h, n] of [B, h, prefix + n, prefix + n]
        return Features(tokens.float(), cls_to_patch.float())

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

    @contextmanager
    def _reading_attention(self, block: int) -> Iterator[list[Tensor]]:
        """Collects the attention map of one block; the others keep their fused kernels."""
        module = cast(Any, self.model.blocks[self._index(block)]).attn
        maps: list[Tensor] = []
        # Fused attention never forms the map. What enters the dropout is the softmax, rotary positions too.
        handle = module.attn_drop.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
        fused, module.fused_attn = module.fused_attn, False
        try:
            yield maps
        finally:
            module.fused_attn = fused
            handle.remove()


def squash(photograph: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize ``[H, W, 3]`` to ``[size, size, 3]``, not keeping the aspect ratio (section 4.1.2)."""
    resized = Image.fromarray(photograph).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(resized)  # a copy that PyTorch may share
