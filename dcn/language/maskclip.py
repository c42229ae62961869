"""MaskCLIP: classes of pixels from a language-image model, and of regions by their mode (section 4.5).

MaskCLIP (Zhou et al., ECCV 2022) reads patch features from the last block of CLIP's image tower: its values
in place of its attention. They are compared with the text embeddings of the class names.

MaskCLIP's setting of PASCAL VOC has the 20 foreground classes and no background, so pixels get one of those;
the paper does not say how its 50.9 in Table 3 treats the background. Three ways to a figure are defined here:

- regions: a foreground region of the DCN takes the mode of its pixels, the rest is background
  (:func:`region_modes`; the paper's DCN + MaskCLIP);
- pixels inside the DCN's foreground, the rest background (:func:`foreground_pixels`): the same without modes;
- pixels alone, where the ground truth is no background (:func:`without_background`), as MaskCLIP's data set
  ignores it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcn.errors import InvalidOptionError
from dcn.evaluation.overlap import region_overlap
from dcn.regions import upsampled_bands
from dcn.weights.openclip import Tokenizer, create_clip


class LanguageModel:
    """The two towers of a CLIP, read as MaskCLIP does.

    Args:
        model: an ``open_clip.CLIP`` whose image tower is open_clip's ``VisionTransformer``, with mean and
            standard deviation attached by ``open_clip.set_model_preprocess_cfg``.
        tokenizer: of the text tower.
        device: where it computes.

    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._model = cast(Any, model.to(self.device).eval().requires_grad_(False))
        self._tokenizer = tokenizer
        self._visual = self._model.visual
        self._mean = torch.tensor(self._visual.image_mean, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(self._visual.image_std, device=self.device).view(3, 1, 1)
        self.patch_size: int = self._visual.patch_size[0]

    @classmethod
    def from_name(
        cls, name: str, weights: Path | None = None, device: str | torch.device = "cpu"
    ) -> LanguageModel:
        """The pretrained model called ``name``; see :func:`dcn.weights.openclip.create_clip`."""
        return cls(*create_clip(name, weights), device)

    def grid(self, input_size: int) -> int:
        """Patches along one side of a square input of ``input_size`` pixels.

        Raises:
            InvalidOptionError: the side is not a multiple of the patch size.

        """
        if input_size % self.patch_size:
            near = max(1, round(input_size / self.patch_size)) * self.patch_size
            raise InvalidOptionError(
                f"language input size {input_size} is not a multiple of the patch size {self.patch_size}; "
                f"try {near}"
            )
        return input_size // self.patch_size

    def preprocess(self, photographs: npt.NDArray[np.uint8] | Tensor) -> Tensor:
        """Normalize ``[B, S, S, 3]`` uint8 to ``[B, 3, S, S]`` float32 on the device."""
        pixels = torch.as_tensor(photographs).to(self.device, non_blocking=True)
        scaled = pixels.permute(0, 3, 1, 2).float() / 255
        return (scaled - self._mean) / self._std

    @torch.inference_mode()
    def patch_features(self, inputs: Tensor) -> Tensor:
        """MaskCLIP's dense features ``[B, n, e]`` float32 of preprocessed photographs ``[B, 3, S, S]``.

        Patches are in row-major order; any side works that the patch size divides.
        """
        visual = self._visual
        side = self.grid(inputs.shape[-1])
        patches = visual.conv1(inputs).flatten(2).mT  # [B, n, w]
        cls = visual.class_embedding.expand(len(inputs), 1, -1)
        x = visual.ln_pre(torch.cat([cls, patches], dim=1) + self._positions(side))  # [B, 1 + n, w]
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = block(x)
        # In the last block every token attends to itself alone: value and output projection, no softmax.
        attention = last.attn
        width = attention.embed_dim
        weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        values = attention.out_proj(F.linear(last.ln_1(x), weight, bias))
        x = x + last.ls_1(values)
        x = x + last.ls_2(last.mlp(last.ln_2(x)))
        features: Tensor = visual.ln_post(x[:, 1:]) @ visual.proj  # [B, n, e]
        return features.float()

    @torch.inference_mode()
    def text_embeddings(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """One unit vector per class, ``[C, e]`` float32: the mean of the unit vectors of its prompts.

        Args:
            prompts: of each class (:func:`dcn.language.prompts.class_prompts`).

        """
        means = []
        for sentences in prompts:
            tokens = self._tokenizer(list(sentences)).to(self.device)
            means.append(self._model.encode_text(tokens, normalize=True).float().mean(dim=0))
        return F.normalize(torch.stack(means), dim=-1)

    def _positions(self, side: int) -> Tensor:
        """Position embedding ``[1 + side * side, w]``, its grid resized as open_clip does for checkpoints."""
        embedding: Tensor = self._visual.positional_embedding
        trained = self._visual.grid_size
        if trained == (side, side):
            return embedding
        grid = embedding[1:].T.reshape(1, -1, *trained)  # [1, w, rows, columns]
        resized = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([embedding[:1], resized[0].flatten(1).T])


def patch_logits(features: Tensor, text: Tensor) -> Tensor:
    """Cosines of patch features ``[B, n, e]`` and unit text embeddings ``[C, e]``: ``[B, n, C]`` float32."""
    return F.normalize(features, dim=-1) @ text.T


def classify_pixels(logits: Tensor, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Class of every pixel: bilinear upsampling of the cosines, then argmax.

    Args:
        logits: ``[n, C]`` of one image, of the foreground classes in their order.
        height: of the photograph.
        width: of the photograph.

    Returns:
        ``[height, width]`` in 1 to C; background, 0, is never among them.

    """
    classes = np.empty((height, width), dtype=np.uint8)
    for top, band in upsampled_bands(logits.cpu(), height, width):
        classes[top : top + band.shape[1]] = band.argmax(dim=0).to(torch.uint8).numpy() + 1
    return classes


def region_modes(
    labels: npt.NDArray[np.uint8], pixel_classes: npt.NDArray[np.uint8], foreground: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Class of each region: the mode of the classes of its pixels (section 4.5).

    Args:
        labels: ``[H, W]`` regions.
        pixel_classes: ``[H, W]`` of :func:`classify_pixels`.
        foreground: ``[k]``.

    Returns:
        ``[k]``; of equal classes the first, and 0 for background and for a region that does not occur.

    """
    votes = region_overlap(labels, pixel_classes, len(foreground), 256)  # [k, 256]
    return np.where(foreground, votes.argmax(axis=1), 0)


def foreground_pixels(
    labels: npt.NDArray[np.uint8], pixel_classes: npt.NDArray[np.uint8], foreground: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Classes of the pixels ``[H, W]`` within foreground regions; 0 elsewhere. Arguments as above."""
    return np.where(foreground[labels], pixel_classes, 0).astype(np.uint8)


def without_background(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Confusion matrix ``[C, C]`` without the pixels whose true class (column) is background.

    As background then does not occur, its IoU is NaN and no part of the mean.
    """
    kept = matrix.copy()
    kept[:, 0] = 0
    return kept
