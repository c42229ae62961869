"""Training of the DCN on cached tokens (sections 3.3 and 4.1.2), resumable with bit-identical results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcn.errors import NonFiniteTrainingError
from dcn.kernels.cuda_graph import Captured
from dcn.modularity import PAPER_LOSS, ModularityLoss, cosine_assignment
from dcn.network import DynamicClusteringNetwork
from dcn.optimizer import ResumableAdamW, Schedule

# Below this variance between images the unit centers do not depend on the image any more: a network that
# learns has 0.2 and more, a collapsed one less than 0.01 (docs/how-it-works/training.md).
COLLAPSED_VARIANCE = 0.02


@dataclass(frozen=True)
class StepRecord:
    """Measurements of one training iteration.

    Attributes:
        iteration: number of the iteration, counted from 0.
        modularity: mean modularity of the batch. The loss is its negative (equation 10).
        gradient_norm: norm of the gradient of all parameters together, before clipping.
        regions: number of clusters that own at least one token, mean over the batch.
        prototypes_in_use: number of prototypes that own at least one token of at least one image.
        center_variance: variance of the unit centers between the images of the batch, see
            :func:`center_variance`.

    """

    iteration: int
    modularity: float
    gradient_norm: float
    regions: float
    prototypes_in_use: int
    center_variance: float

    @property
    def collapsed(self) -> bool:
        """Whether the centers hardly depend on the image. Section 3.1 wants them dynamic."""
        return self.center_variance < COLLAPSED_VARIANCE


class Trainer:
    """Trains a DCN with the modularity loss and AdamW, and can be stopped and resumed (section 3.3).

    Args:
        network: network to train, changed in place.
        learning_rate: learning rate of AdamW, at its highest.
        schedule: ``"constant"`` as in the paper, or ``"cosine"``: decays to 0 over ``iterations``.
        iterations: length of the schedule.
        weight_decay: weight decay of AdamW.
        max_gradient_norm: clips the gradient of all parameters together to this norm; None does not clip.
        loss: the modularity to maximize; the paper's by default.

    Example:
        >>> trainer = Trainer(DynamicClusteringNetwork(dim=16), iterations=100)
        >>> record = trainer.step(torch.randn(4, 49, 16), names=["a", "b", "c", "d"])
        >>> record.iteration, trainer.iteration
        (0, 1)

    """

    def __init__(
        self,
        network: DynamicClusteringNetwork,
        learning_rate: float = 1e-4,
        schedule: Schedule = "constant",
        iterations: int = 2500,
        weight_decay: float = 0.01,
        max_gradient_norm: float | None = 0.5,
        loss: ModularityLoss = PAPER_LOSS,
    ) -> None:
        self.network = network
        self._loss = loss
        self._measure_and_differentiate = Captured(self._differentiate)
        self._optimizer = ResumableAdamW(
            network, learning_rate, schedule, iterations, weight_decay, max_gradient_norm
        )

    @property
    def iteration(self) -> int:
        """Number of finished iterations."""
        return self._optimizer.iteration

    def step(self, tokens: Tensor, names: Iterable[str]) -> StepRecord:
        """Train for one iteration.

        Args:
            tokens: ``[B, n, d]`` float32 tokens of ``B`` images, on the network's device.
            names: names of the images. Only error messages use them.

        Returns:
            The measurements of this iteration.

        Raises:
            NonFiniteTrainingError: the modularity or the gradient is NaN or infinite. No weight changed.

        """
        self.network.train()
        # One copy from the device: each waits for all that was launched before.
        *values, modularity, norm, regions, in_use, variance = self._measure_and_differentiate(
            tokens
        ).tolist()
        self._check_finite(values, norm, names)
        record = StepRecord(
            iteration=self.iteration,
            modularity=modularity,
            gradient_norm=norm,
            regions=regions,
            prototypes_in_use=round(in_use),
            center_variance=variance,
        )
        self._optimizer.step()
        return record

    def state(self) -> dict[str, Tensor]:
        """Return weights and optimizer state by name. With the iteration they determine the next step."""
        return self._optimizer.state()

    def restore(self, tensors: dict[str, Tensor], iteration: int) -> None:
        """Restore the tensors of :meth:`state`, taken after ``iteration`` iterations."""
        self._optimizer.restore(tensors, iteration)

    def _differentiate(self, tokens: Tensor) -> Tensor:
        """Compute the gradient. Returns ``[B + 5]``: modularity of each image, numbers of the record."""
        tokens = self.network.project(tokens)  # [B, n, p]
        centers = _centers(self.network, tokens)  # [B, k, p]
        assignment = cosine_assignment(tokens, centers)  # [B, n, k]
        values = self._loss.modularity(tokens, assignment)  # [B]
        mean = values.mean()
        norm = self._optimizer.differentiate(-mean)
        used = used_clusters(assignment)  # [B, k]
        measured = (
            mean.detach(),
            norm,
            used.sum(dim=1).float().mean(),
            used.any(dim=0).sum(),
            center_variance(centers.detach()),
        )
        return torch.cat([values.detach(), torch.stack([number.to(values.dtype) for number in measured])])

    def _check_finite(self, values: Sequence[float], norm: float, names: Iterable[str]) -> None:
        wrong = ~np.isfinite(values)  # [B]
        if wrong.any():
            # A batch may span two epochs, so an image may be in it twice.
            distinct = list(dict.fromkeys(compress(names, wrong)))
            raise NonFiniteTrainingError(
                f"iteration {self.iteration}: the modularity of {', '.join(distinct[:5])} is not finite; "
                f"check these photographs, or extract their tokens again"
            )
        if not np.isfinite(norm):
            raise NonFiniteTrainingError(
                f"iteration {self.iteration}: the gradient is not finite; its images are "
                f"{', '.join(islice(names, 5))}. A smaller learning rate may help",
                parameter="learning_rate",
            )


@torch.inference_mode()
def held_out_modularity(network: DynamicClusteringNetwork, tokens: Tensor, loss: ModularityLoss) -> Tensor:
    """Compute the modularity of held-out images, with the network in evaluation mode.

    Args:
        network: network in training; its mode changes to evaluation.
        tokens: ``[B, n, d]`` float32 tokens of ``B`` images.
        loss: the modularity that the network was trained with.

    Returns:
        ``[B]``.

    """
    network.eval()
    tokens = network.project(tokens)
    assignment = cosine_assignment(tokens, _centers(network, tokens))
    return loss.modularity(tokens, assignment)


def _centers(network: DynamicClusteringNetwork, tokens: Tensor) -> Tensor:
    """Compute centers ``[B, k, d]`` in the precision of the tokens. On CUDA the network uses bfloat16."""
    with torch.autocast("cuda", torch.bfloat16, enabled=tokens.is_cuda):
        centers: Tensor = network(tokens)
    return centers.to(tokens.dtype)


def used_clusters(assignment: Tensor) -> Tensor:
    """Find the clusters that own a token (equation 6): ``[B, k]`` bool of an assignment ``[B, n, k]``."""
    owners = torch.zeros(assignment.shape[0], assignment.shape[2], dtype=torch.bool, device=assignment.device)
    return owners.scatter_(1, assignment.argmax(dim=-1), True)


def center_variance(centers: Tensor) -> Tensor:
    """Compute the variance of the unit centers between images, mean over the clusters.

    Args:
        centers: ``[B, k, d]`` of ``B`` images.

    Returns:
        A number in [0, 1]. 0 means the same directions for every image. NaN for a batch of one image.

    """
    if len(centers) < 2:
        return torch.full((), torch.nan, device=centers.device)
    mean = torch.nn.functional.normalize(centers, dim=-1).mean(dim=0)  # [k, d]
    return 1 - mean.square().sum(dim=-1).mean()


def batch_rows(
    rows: np.ndarray[Any, np.dtype[np.int64]], batch_size: int, seed: int, iteration: int
) -> list[int]:
    """Draw the rows of one batch. Seed and iteration determine it, so that a resumed run draws the same.

    Each epoch visits all training images in a new random order. A batch may span two epochs.

    Args:
        rows: ``[N]`` rows of the training images.
        batch_size: images in a batch.
        seed: random seed of the order.
        iteration: number of the iteration, counted from 0.

    Returns:
        ``batch_size`` rows.

    """
    batch: list[int] = []
    position = iteration * batch_size
    while len(batch) < batch_size:
        epoch, offset = divmod(position + len(batch), len(rows))
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        batch.extend(int(row) for row in order[offset : offset + batch_size - len(batch)])
    return batch
