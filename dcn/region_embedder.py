"""Embeddings of regions from one or several sources: crops, or tokens of the photograph (section 4.1.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcn.crops import Crop, crop_regions, masked_inputs, patches_inside
from dcn.embedding_sources import CROP_VIEWS, CropView
from dcn.model_description import EmbeddingDescription
from dcn.region_tokens import mean_tokens

if TYPE_CHECKING:
    from dcn.backbone import Backbone

# Batches whose crops are sorted by their number of patches, and the steps of this number. A batch has crops
# of one step only: it is padded to its longest crop, so a mixed one would compute what was dropped.
_SORTED_BATCHES, _STEPS = 8, 16


@dataclass(frozen=True)
class RegionViews:
    """What the embedding of one region is computed from.

    Attributes:
        crops: one crop for each source that is a crop, in the order of the sources.
        token: ``[d]`` mean token of the region; None if no source needs it.

    """

    crops: tuple[Crop, ...]
    token: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class RegionEmbedder:
    """Computes embeddings of regions with a frozen ViT.

    Attributes:
        backbone: the ViT.
        description: sources, layers and sizes.

    Example:
        >>> backbone, preset = Backbone.from_preset("focus-s14")
        >>> description = EmbeddingDescription(layer=-3, size=224, source=("crop-context",))
        >>> embedder = RegionEmbedder(backbone, description)
        >>> labels = np.zeros((20, 30), np.uint8)
        >>> views = embedder.views(np.zeros((20, 30, 3), np.uint8), labels, region_boxes(labels, 1), None)
        >>> embedder.embed(list(views.values()), batch_size=32).shape
        (1, 384)

    """

    backbone: Backbone
    description: EmbeddingDescription

    @property
    def width(self) -> int:
        """Number of channels of an embedding: those of the backbone for each source."""
        return len(self.description.source) * self.backbone.dim

    def batch_size(self, crops: int) -> int:
        """Number of regions to give to :meth:`embed` at once, if a batch of the backbone has ``crops``."""
        return crops * _SORTED_BATCHES if self.description.drop_masked else crops

    def views(
        self,
        photograph: npt.NDArray[np.uint8] | None,
        labels: npt.NDArray[np.uint8],
        boxes: npt.NDArray[np.int32],
        tokens: npt.NDArray[np.floating] | None,
    ) -> dict[int, RegionViews]:
        """Cut the regions of one photograph out of it. Safe to call from several threads.

        Args:
            photograph: ``[H, W, 3]`` uint8 RGB; None if no source is a crop.
            labels: label map ``[H, W]``.
            boxes: ``[k, 4]`` bounding boxes (:func:`dcn.regions.region_boxes`); a region with an empty box is
                left out.
            tokens: ``[n, d]`` tokens of the photograph; None if no source needs them.

        Returns:
            The views of each region, by region in ascending order.

        """
        means = None if tokens is None else mean_tokens(tokens, labels, len(boxes))  # [k, d]
        cut = [
            crop_regions(photograph, labels, boxes, self.description.size, view)
            for view in self._crop_views
            if photograph is not None
        ]
        return {
            region: RegionViews(
                tuple(crops[region] for crops in cut), None if means is None else means[region]
            )
            for region in np.flatnonzero(boxes[:, 2] > boxes[:, 0]).tolist()
        }

    def embed(self, regions: Sequence[RegionViews], batch_size: int) -> npt.NDArray[np.float32]:
        """Compute the embeddings of some regions.

        Args:
            regions: ``R`` regions of any photographs.
            batch_size: largest number of crops that the backbone gets at once.

        Returns:
            ``[R, width]``. If there are several sources, each part has unit length, and a region that has
            zeros in one part has zeros in all.

        """
        views = iter(self._crop_views)
        crops = zip(*(region.crops for region in regions), strict=True)
        parts = [
            self._embed_crops(next(crops), next(views), batch_size)
            if source in CROP_VIEWS
            else np.stack([region.token for region in regions if region.token is not None])
            for source in self.description.source
        ]
        if len(parts) == 1:
            return parts[0]
        lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]  # [R, 1] each
        known = np.all([length != 0 for length in lengths], axis=0)
        units = [
            part / np.where(known, length, 1) * known for part, length in zip(parts, lengths, strict=True)
        ]
        return np.concatenate(units, axis=1)

    @property
    def _crop_views(self) -> list[CropView]:
        return [CROP_VIEWS[source] for source in self.description.source if source in CROP_VIEWS]

    def _embed_crops(self, crops: Sequence[Crop], view: CropView, batch_size: int) -> npt.NDArray[np.float32]:
        """Compute the CLS tokens ``[R, d]`` of crops."""
        import torch

        dropped = self.description.drop_masked and view.masked
        kept = patches_inside(crops, self.backbone.patch_size) if dropped else None  # [R, n]
        vectors = np.zeros((len(crops), self.backbone.dim), dtype=np.float32)  # [R, d]
        for batch in _batches(np.ones((len(crops), 1)) if kept is None else kept, batch_size):
            inputs = masked_inputs(self.backbone, [crops[place] for place in batch])
            patches = None if kept is None else torch.from_numpy(kept[batch]).to(inputs.device)
            vectors[batch] = self.backbone.embed(inputs, self.description.layer, patches).cpu().numpy()
        return vectors


def _batches(kept: npt.NDArray[Any], batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Group crops with kept patches ``[R, n]`` into batches of similar numbers of patches."""
    steps = -(-kept.sum(axis=1) * _STEPS // kept.shape[1])  # [R]
    order = steps.argsort(kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(steps[order])) + 1):
        yield from np.split(group, list(range(batch_size, len(group), batch_size)))
