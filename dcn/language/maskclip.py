"""MaskCLIP: classifies pixels with a language-image model, and regions by the mode of their pixels.

MaskCLIP (Zhou et al., ECCV 2022) computes patch features in the last block of CLIP's image tower: it takes
the values in place of the attention's output. Their cosines with the text embeddings of the class names
classify the patches (section 4.5).

MaskCLIP's setting of PASCAL VOC has the 20 foreground classes and no background, so every pixel gets one of
those. The paper does not say how its 50.9 in table 3 treats the background. This module defines three ways
to compute an mIoU:

- regions: a foreground region of the DCN takes the mode of its pixels, the rest is background
  (:func:`region_modes`; the paper's DCN + MaskCLIP);
- pixels inside the DCN's foreground keep their class, the rest is background (:func:`foreground_pixels`);
- all pixels keep their class, and pixels whose true class is background do not count
  (:func:`without_background`), as in MaskCLIP's data set.
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
    """A CLIP that computes MaskCLIP's patch features and text embeddings.

    Args:
        model: an ``open_clip.CLIP`` whose image tower is open_clip's ``VisionTransformer``, with mean and
            standard deviation attached by ``open_clip.set_model_preprocess_cfg``.
        tokenizer: tokenizer of the text tower.
        device: device of the model.

    Attributes:
        patch_size: side of a patch in pixels.
        scale: factor of the cosines whose softmax are the probabilities that the model was trained for.

    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._model = cast(Any, model.to(self.device).eval().requires_grad_(False))
        self._tokenizer = tokenizer
        self._visual = self._model.visual
        self._mean = torch.tensor(self._visual.image_mean, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(self._visual.image_std, device=self.device).view(3, 1, 1)
        self.patch_size: int = self._visual.patch_size[0]
        self.scale = float(self._model.logit_scale.exp())

    @classmethod
    def from_name(
        cls, name: str, weights: Path | None = None, device: str | torch.device = "cpu"
    ) -> LanguageModel:
        """Load a pretrained model by its name; see :func:`dcn.weights.openclip.create_clip`."""
        return cls(*create_clip(name, weights), device)

    def grid(self, input_size: int) -> int:
        """Count the patches along one side of a square input of ``input_size`` pixels.

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
        """Normalize photographs ``[B, S, S, 3]`` uint8 to ``[B, 3, S, S]`` float32 on the model's device."""
        pixels = torch.as_tensor(photographs).to(self.device, non_blocking=True)
        scaled = pixels.permute(0, 3, 1, 2).float() / 255
        return (scaled - self._mean) / self._std

    @torch.inference_mode()
    def patch_features(self, inputs: Tensor) -> Tensor:
        """Compute MaskCLIP's patch features of preprocessed photographs.

        Args:
            inputs: ``[B, 3, S, S]`` from :meth:`preprocess`; S is a multiple of the patch size.

        Returns:
            ``[B, n, e]`` float32, patches in row-major order.

        Raises:
            InvalidOptionError: S is not a multiple of the patch size.

        """
        visual = self._visual
        side = self.grid(inputs.shape[-1])
        patches = visual.conv1(inputs).flatten(2).mT  # [B, n, w]
        cls = visual.class_embedding.expand(len(inputs), 1, -1)
        x = visual.ln_pre(torch.cat([cls, patches], dim=1) + self._positions(side))  # [B, 1 + n, w]
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = block(x)
        # In the last block every token attends to itself alone: only value and output projection.
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
        """Embed each class as the direction of the mean of its prompts' unit vectors.

        Args:
            prompts: for each of ``C`` classes its prompts, from :func:`dcn.language.prompts.class_prompts`.

        Returns:
            ``[C, e]`` float32 unit vectors.

        """
        means = []
        for sentences in prompts:
            tokens = self._tokenizer(list(sentences)).to(self.device)
            means.append(self._model.encode_text(tokens, normalize=True).float().mean(dim=0))
        return F.normalize(torch.stack(means), dim=-1)

    def _positions(self, side: int) -> Tensor:
        """Resize the grid of the position embedding to ``[1 + side * side, w]``, as open_clip resizes it."""
        embedding: Tensor = self._visual.positional_embedding
        trained = self._visual.grid_size
        if trained == (side, side):
            return embedding
        grid = embedding[1:].T.reshape(1, -1, *trained)  # [1, w, rows, columns]
        resized = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([embedding[:1], resized[0].flatten(1).T])


def patch_logits(features: Tensor, text: Tensor) -> Tensor:
    """Compute the cosines of patch features and text embeddings.

    Args:
        features: ``[B, n, e]`` from :meth:`LanguageModel.patch_features`.
        text: ``[C, e]`` unit vectors from :meth:`LanguageModel.text_embeddings`.

    Returns:
        ``[B, n, C]`` float32.

    """
    return F.normalize(features, dim=-1) @ text.T


def classify_pixels(logits: Tensor, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Classify every pixel: upsample the cosines bilinearly, then argmax.

    Args:
        logits: ``[n, C]`` cosines of one image with the foreground classes, in their order.
        height: height of the photograph in pixels.
        width: width of the photograph in pixels.

    Returns:
        ``[height, width]`` classes 1 to C. The background, class 0, never occurs.

    """
    classes = np.empty((height, width), dtype=np.uint8)
    for top, band in upsampled_bands(logits.cpu(), height, width):
        classes[top : top + band.shape[1]] = band.argmax(dim=0).to(torch.uint8).numpy() + 1
    return classes


def region_modes(
    labels: npt.NDArray[np.uint8], pixel_classes: npt.NDArray[np.uint8], foreground: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Classify each region by the mode of the classes of its pixels (section 4.5).

    Args:
        labels: label map ``[H, W]``, the region of each pixel.
        pixel_classes: ``[H, W]`` from :func:`classify_pixels`.
        foreground: ``[k]`` bool, which regions are foreground.

    Returns:
        ``[k]`` classes. The first of equally frequent classes wins. 0 for a background region and for a
        region that does not occur.

    """
    votes = region_overlap(labels, pixel_classes, len(foreground), 256)  # [k, 256]
    return np.where(foreground, votes.argmax(axis=1), 0)


def foreground_pixels(
    labels: npt.NDArray[np.uint8], pixel_classes: npt.NDArray[np.uint8], foreground: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Keep the classes of the pixels in foreground regions; all other pixels get background, 0.

    Args:
        labels: label map ``[H, W]``, the region of each pixel.
        pixel_classes: ``[H, W]`` from :func:`classify_pixels`.
        foreground: ``[k]`` bool, which regions are foreground.

    Returns:
        ``[H, W]`` classes.

    """
    return np.where(foreground[labels], pixel_classes, 0).astype(np.uint8)


def without_background(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Remove the pixels whose true class (column) is background from a confusion matrix ``[C, C]``.

    The background then does not occur: its IoU is NaN, and the mean leaves it out.
    """
    kept = matrix.copy()
    kept[:, 0] = 0
    return kept
