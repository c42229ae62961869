"""Distillation of the classes of regions into a head on tokens (self-training without labels).

The head learns which cluster a patch belongs to, from regions that k-means has assigned with confidence. Deep
Spectral Methods (Melas-Kyriazi et al., 2022) and COMUS (Zadaianchuk et al., 2023) do so with larger networks.
In a further round it learns from the confident predictions of the head before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dcn.class_head import ClassHead
from dcn.errors import NonFiniteTrainingError
from dcn.optimizer import ResumableAdamW

# The target of a patch that teaches nothing.
NO_CLASS = -1
_WEIGHT_DECAY = 0.01
_MAX_GRADIENT_NORM = 1.0


def confident(
    classes: npt.NDArray[np.integer], doubt: npt.NDArray[np.floating], left_out: float
) -> npt.NDArray[np.bool_]:
    """Select the members of each class that are sure: all but a share with the largest doubt.

    Args:
        classes: ``[m]`` class of each member, 0 and more.
        doubt: ``[m]``, such as the distance to the center of the class.
        left_out: share of each class that is left out, below 1. Equal doubts are kept or left out together,
            and at least one member of each class is kept.

    Returns:
        ``[m]``.

    Example:
        >>> confident(np.array([1, 1, 1, 1, 1, 2]), np.array([.1, .2, .9, .3, .4, .9]), left_out=0.2)
        array([ True,  True, False,  True,  True,  True])

    """
    limits = np.full(int(classes.max(initial=0)) + 1, np.inf)  # [C]
    for label in np.unique(classes):
        limits[label] = np.quantile(doubt[classes == label], 1 - left_out, method="lower")
    kept: npt.NDArray[np.bool_] = doubt <= limits[classes]
    return kept


def confidence_limits(
    classes: npt.NDArray[np.integer], confidence: npt.NDArray[np.floating], num_classes: int, left_out: float
) -> npt.NDArray[np.float64]:
    """Find the confidence of each class below which ``left_out`` of its patches lie, ``[C]``.

    Args:
        classes: ``[m]`` predicted class of patches of many images.
        confidence: ``[m]`` probability of that class.
        num_classes: ``C``. A class that was never predicted has the limit infinity.
        left_out: share of each class that is left out.

    """
    limits = np.full(num_classes, np.inf)
    for label in np.unique(classes):
        limits[label] = np.quantile(confidence[classes == label], left_out, method="higher")
    return limits


class HeadTrainer:
    """Trains a head with the cross entropy and AdamW, and can be stopped and resumed.

    Args:
        head: head to train, changed in place.
        learning_rate: highest learning rate of AdamW. It decays to 0 along a cosine.
        iterations: length of the schedule.

    """

    def __init__(self, head: ClassHead, learning_rate: float, iterations: int) -> None:
        self.head = head
        self._optimizer = ResumableAdamW(
            head, learning_rate, "cosine", iterations, _WEIGHT_DECAY, _MAX_GRADIENT_NORM
        )

    @property
    def iteration(self) -> int:
        """Number of finished iterations."""
        return self._optimizer.iteration

    def step(self, layers: Sequence[Tensor], targets: Tensor) -> float:
        """Train for one iteration, and return the loss: the mean over the patches that teach something.

        Args:
            layers: tokens ``[B, n, d]`` of each layer.
            targets: ``[B, n]`` int64, the cluster of each patch; :data:`NO_CLASS` teaches nothing.

        Raises:
            NonFiniteTrainingError: the loss or its gradient is NaN or infinite. No weight changed.

        """
        self.head.train()
        logits = self.head(layers).flatten(0, 1)  # [B * n, K + 1]
        total = F.cross_entropy(logits, targets.flatten(), ignore_index=NO_CLASS, reduction="sum")
        loss = total / (targets != NO_CLASS).sum().clamp(min=1)
        norm = self._optimizer.differentiate(loss)
        if not (loss.isfinite() and norm.isfinite()):
            raise NonFiniteTrainingError(
                f"iteration {self.iteration}: the loss of the head or its gradient is not finite; extract "
                f"the tokens again, or take a smaller learning rate",
                parameter="learning_rate",
            )
        self._optimizer.step()
        return float(loss.item())

    def state(self) -> dict[str, Tensor]:
        """Return weights and optimizer state by name. With the iteration they determine the next step."""
        return self._optimizer.state()

    def restore(self, tensors: dict[str, Tensor], iteration: int) -> None:
        """Restore the tensors of :meth:`state`, taken after ``iteration`` iterations."""
        self._optimizer.restore(tensors, iteration)


@torch.inference_mode()
def count_agreement(head: ClassHead, layers: Sequence[Tensor], targets: Tensor) -> tuple[int, int]:
    """Count the patches whose most probable class is their target, and those that have a target.

    Args:
        head: the head; its mode changes to evaluation.
        layers: tokens ``[B, n, d]`` of each layer.
        targets: ``[B, n]``, see :meth:`HeadTrainer.step`.

    """
    head.eval()
    predicted = head(layers).argmax(dim=-1)  # [B, n]
    return int((predicted == targets).sum()), int((targets != NO_CLASS).sum())
