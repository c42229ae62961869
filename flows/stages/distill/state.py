"""What a round of the distillation needs to resume with identical bits, as a file."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from safetensors.torch import save
from torch import Tensor

from dcn.distillation import HeadTrainer
from dcn.weights.tensor_file import read_tensors


@dataclass
class RoundState:
    """The results of a round so far.

    Attributes:
        number: number of the round, from 0.
        checks: number of finished iterations and agreement at each check.
        best: weights of the check with the highest agreement.

    """

    number: int
    checks: list[tuple[int, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def to_bytes(self, trainer: HeadTrainer) -> bytes:
        """Write these results and the state of the trainer as a safetensors file."""
        tensors = {name: value.cpu() for name, value in trainer.state().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors["checks"] = torch.tensor(self.checks, dtype=torch.float64).reshape(-1, 2)
        tensors["round_and_iteration"] = torch.tensor([self.number, trainer.iteration])
        return save(tensors)

    @classmethod
    def from_bytes(cls, content: bytes, number: int, trainer: HeadTrainer) -> RoundState:
        """Read what :meth:`to_bytes` wrote, and restore the trainer.

        The state of another round counts for nothing: that round was complete when the run was killed.
        """
        tensors, _ = read_tensors(content)
        written, iteration = tensors.pop("round_and_iteration").tolist()
        if written != number:
            return cls(number)
        checks = [(int(done), value) for done, value in tensors.pop("checks").tolist()]
        best = {
            name.removeprefix("best."): tensors.pop(name)
            for name in list(tensors)
            if name.startswith("best.")
        }
        trainer.restore(tensors, iteration)
        return cls(number, checks, best)
