"""Training of the DCN on cached tokens (sections 3.3 and 4.1.2), resumable to the bit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress, islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dcn.errors import NonFiniteTrainingError
from dcn.modularity import cosine_assignment, modularity
from dcn.network import DynamicClusteringNetwork

# Below this variance of the unit centers between images the centers say nothing of the image any more:
# a living network has 0.2 and more, the dead state under 0.01 (docs/how-it-works/training.md).
COLLAPSED_VARIANCE = 0.02


@dataclass(frozen=True)
class StepRecord:
    """What one iteration says of the state of training.

    Attributes:
        iteration: counted from 0.
        modularity: mean over the batch; the loss is its negative (equation 10).
        gradient_norm: of all parameters, before clipping.
        regions: clusters that own at least one token, mean over the batch.
        prototypes_in_use: prototypes that own at least one token of at least one image of the batch.
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
        """The centers hardly depend on the image (section 3.1 wants them dynamic)."""
        return self.center_variance < COLLAPSED_VARIANCE


class Trainer:
    """One network, its optimizer, and the state that a resumed run needs.

    Args:
        network: is changed in place.
        learning_rate: of AdamW.
        schedule: ``"constant"`` as in the paper, or ``"cosine"``: down to 0 over ``iterations``.
        iterations: length of the schedule.
        weight_decay: of AdamW.
        max_gradient_norm: clips the gradient of all parameters together; None does not clip.
        resolution: see :func:`dcn.modularity.modularity`.
        temperature: likewise.

    """

    def __init__(
        self,
        network: DynamicClusteringNetwork,
        learning_rate: float = 1e-4,
        schedule: Literal["constant", "cosine"] = "constant",
        iterations: int = 2500,
        weight_decay: float = 0.01,
        max_gradient_norm: float | None = 0.5,
        resolution: float = 1.0,
        temperature: float | None = None,
    ) -> None:
        self.network = network
        self.iteration = 0
        self._learning_rate = learning_rate
        self._schedule = schedule
        self._iterations = iterations
        self._max_gradient_norm = max_gradient_norm
        self._resolution = resolution
        self._temperature = temperature
        self._parameters = dict(network.named_parameters())
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )

    def step(self, tokens: Tensor, names: Iterable[str]) -> StepRecord:
        """One iteration on the tokens ``[B, n, d]`` of images; only an error asks for their ``names``.

        Raises:
            NonFiniteTrainingError: tokens, loss or gradient are NaN or infinite; nothing was updated.

        """
        self.network.train()
        centers = _centers(self.network, tokens)  # [B, k, d]
        assignment = cosine_assignment(tokens, centers)  # [B, n, k]
        values = modularity(tokens, assignment, self._resolution, self._temperature)  # [B]
        loss = -values.mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        limit = torch.inf if self._max_gradient_norm is None else self._max_gradient_norm
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), limit).item()
        self._check_finite(values, norm, names)
        self._optimizer.param_groups[0]["lr"] = self._rate()
        self._optimizer.step()
        used = used_clusters(assignment)  # [B, k]
        record = StepRecord(
            iteration=self.iteration,
            modularity=-loss.item(),
            gradient_norm=norm,
            regions=used.sum(dim=1).float().mean().item(),
            prototypes_in_use=int(used.any(dim=0).sum()),
            center_variance=center_variance(centers.detach()),
        )
        self.iteration += 1
        return record

    def _rate(self) -> float:
        if self._schedule == "constant":
            return self._learning_rate
        return self._learning_rate * 0.5 * (1 + math.cos(math.pi * self.iteration / self._iterations))

    def state(self) -> dict[str, Tensor]:
        """Weights and optimizer state by name. With the iteration, all that the next step depends on."""
        tensors = {f"network.{name}": value.detach() for name, value in self._parameters.items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = value
        return tensors

    def restore(self, tensors: dict[str, Tensor], iteration: int) -> None:
        """Continue from :meth:`state` as it was before ``iteration``."""
        self.iteration = iteration
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"network.{name}"])
                self._optimizer.state[parameter] = {
                    key: tensors[f"optimizer.{key}.{name}"].to(parameter.device).clone()
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }

    def _check_finite(self, values: Tensor, norm: float, names: Iterable[str]) -> None:
        wrong = ~values.isfinite()  # [B]
        if wrong.any():
            distinct = list(dict.fromkeys(compress(names, wrong.tolist())))  # a batch may span two epochs
            raise NonFiniteTrainingError(
                f"iteration {self.iteration}: the modularity of {', '.join(distinct[:5])} is not finite; "
                f"look at the tokens of these images, or extract them anew"
            )
        if not np.isfinite(norm):
            raise NonFiniteTrainingError(
                f"iteration {self.iteration}: the gradient is not finite; its images are "
                f"{', '.join(islice(names, 5))}. A smaller train.learning_rate may help"
            )


@torch.inference_mode()
def held_out_modularity(
    network: DynamicClusteringNetwork, tokens: Tensor, resolution: float, temperature: float | None
) -> Tensor:
    """Modularity ``[B]`` of images that are not trained on, from their tokens ``[B, n, d]``."""
    network.eval()
    centers = _centers(network, tokens)
    return modularity(tokens, cosine_assignment(tokens, centers), resolution, temperature)


def _centers(network: DynamicClusteringNetwork, tokens: Tensor) -> Tensor:
    """Centers ``[B, k, d]`` in the tokens' precision; on CUDA the network itself computes in bfloat16."""
    with torch.autocast("cuda", torch.bfloat16, enabled=tokens.is_cuda):
        centers: Tensor = network(tokens)
    return centers.to(tokens.dtype)


def used_clusters(assignment: Tensor) -> Tensor:
    """``[B, k]`` bool: clusters of ``[B, n, k]`` that own at least one token (equation 6)."""
    owners = torch.zeros(assignment.shape[0], assignment.shape[2], dtype=torch.bool, device=assignment.device)
    return owners.scatter_(1, assignment.argmax(dim=-1), True)


def center_variance(centers: Tensor) -> float:
    """Variance of the unit vectors of ``[B, k, d]`` between images, mean over clusters, in [0, 1].

    0: the same centers for every image. NaN for a batch of one.
    """
    if len(centers) < 2:
        return float("nan")
    mean = torch.nn.functional.normalize(centers, dim=-1).mean(dim=0)  # [k, d]
    return float(1 - mean.square().sum(dim=-1).mean())


def batch_rows(
    rows: np.ndarray[Any, np.dtype[np.int64]], batch_size: int, seed: int, iteration: int
) -> list[int]:
    """Rows of one batch: a function of seed and iteration alone, so that a resumed run draws the same.

    The training images are gone through in a new random order in each epoch; a batch may span two.
    """
    batch: list[int] = []
    position = iteration * batch_size
    while len(batch) < batch_size:
        epoch, offset = divmod(position + len(batch), len(rows))
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        batch.extend(int(row) for row in order[offset : offset + batch_size - len(batch)])
    return batch
