"""AdamW with a schedule and clipped gradients, which resumes with bit-identical results."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Schedule = Literal["constant", "cosine"]


class ResumableAdamW:
    """Optimizes the parameters of a module.

    Args:
        module: module to optimize, changed in place.
        learning_rate: learning rate of AdamW, at its highest.
        schedule: ``"constant"``, or ``"cosine"``: decays to 0 over ``iterations``.
        iterations: length of the schedule.
        weight_decay: weight decay of AdamW.
        max_gradient_norm: clips the gradient of all parameters together to this norm; None does not clip.

    Attributes:
        iteration: number of finished iterations.

    """

    def __init__(
        self,
        module: nn.Module,
        learning_rate: float,
        schedule: Schedule,
        iterations: int,
        weight_decay: float,
        max_gradient_norm: float | None,
    ) -> None:
        self.iteration = 0
        self._module = module
        self._learning_rate = learning_rate
        self._schedule = schedule
        self._iterations = iterations
        self._max_gradient_norm = torch.inf if max_gradient_norm is None else max_gradient_norm
        self._parameters = dict(module.named_parameters())
        self._adamw = torch.optim.AdamW(
            self._parameters.values(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )

    @property
    def rate(self) -> float:
        """Learning rate of the current iteration."""
        if self._schedule == "constant":
            return self._learning_rate
        return self._learning_rate * 0.5 * (1 + math.cos(math.pi * self.iteration / self._iterations))

    def differentiate(self, loss: Tensor) -> Tensor:
        """Compute the gradient of a loss, and clip it. Returns its norm before clipping, ``[]``."""
        self._adamw.zero_grad()
        loss.backward()
        return torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._max_gradient_norm)

    def step(self) -> None:
        """Apply the gradient, and end the iteration."""
        self._adamw.param_groups[0]["lr"] = self.rate
        self._adamw.step()
        self.iteration += 1

    def state(self) -> dict[str, Tensor]:
        """Return weights and moments by name. With the iteration they determine the next step."""
        tensors = {f"network.{name}": value for name, value in self._module.state_dict().items()}
        for name, parameter in self._parameters.items():
            for key, value in self._adamw.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = value
        return tensors

    def restore(self, tensors: dict[str, Tensor], iteration: int) -> None:
        """Restore the tensors of :meth:`state`, taken after ``iteration`` iterations."""
        self.iteration = iteration
        with torch.no_grad():
            for name, value in self._module.state_dict().items():
                value.copy_(tensors[f"network.{name}"])
            for name, parameter in self._parameters.items():
                self._adamw.state[parameter] = {
                    key: tensors[f"optimizer.{key}.{name}"].to(parameter.device).clone()
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }
