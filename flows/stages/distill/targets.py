"""Targets of the patches: the classes of their regions, or those that the head before predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcn.class_head import ClassHead
from dcn.distillation import NO_CLASS, confidence_limits
from flows.inputs.image_index import evenly_spread
from flows.stages.training.batches import Batches

# Photographs whose patches determine how sure the most doubtful share of each class is.
_SAMPLED = 256


class Targets(Protocol):
    """Gives each patch of a batch its target ``[B, n]`` int64; :data:`dcn.distillation.NO_CLASS` has none."""

    def __call__(self, rows: Sequence[int], assignment: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """Find the targets of the photographs in ``rows``, with their assignments and tokens."""


class RegionTargets:
    """A patch has the class of the region that it belongs to.

    Args:
        classes: ``[N, k]`` of :class:`flows.stages.distill.region_classes.RegionClasses`.

    """

    def __init__(self, classes: npt.NDArray[np.int16]) -> None:
        self._classes = classes

    def __call__(self, rows: Sequence[int], assignment: Tensor, layers: Sequence[Tensor]) -> Tensor:
        regions = assignment.argmax(dim=-1)  # [B, n, k] to [B, n]
        classes = torch.from_numpy(self._classes[list(rows)]).long().to(regions.device)  # [B, k]
        return classes.gather(1, regions)


class HeadTargets:
    """A patch has the class that a head predicts, if the head is sure enough.

    Args:
        head: head of the round before.
        batches: reads assignment and tokens.
        rows: rows of the photographs to learn from; a sample of them determines what is sure.
        left_out: share of the patches of each class, the least sure, that teach nothing.

    """

    def __init__(
        self, head: ClassHead, batches: Batches, rows: npt.NDArray[np.int64], left_out: float
    ) -> None:
        self._head = head
        found = []
        for _, (_, *layers) in batches.in_order(evenly_spread(rows, _SAMPLED)):
            probabilities = head.probabilities(layers)  # [B, n, K + 1]
            found.append([values.flatten().cpu().numpy() for values in probabilities.max(dim=-1)])
        confidence, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
        limits = confidence_limits(classes, confidence, probabilities.shape[-1], left_out)
        self._limits = torch.from_numpy(limits).float().to(probabilities.device)  # [K + 1]

    def __call__(self, rows: Sequence[int], assignment: Tensor, layers: Sequence[Tensor]) -> Tensor:
        confidence, classes = self._head.probabilities(layers).max(dim=-1)  # [B, n]
        return classes.where(confidence >= self._limits[classes], NO_CLASS)
