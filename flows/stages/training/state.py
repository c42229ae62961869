"""What a training run needs to resume with identical bits, as a file, and when that file is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch
from safetensors.torch import save
from torch import Tensor

from dcn.training import StepRecord, Trainer
from dcn.weights.tensor_file import read_tensors

# Largest share of the time that saving takes.
_SAVING_SHARE = 0.02


@dataclass
class TrainingState:
    """The results of a training run so far.

    Attributes:
        curve: one record for each iteration.
        checks: number of finished iterations and held-out modularity at each check.
        best: weights of the check with the highest held-out modularity.

    """

    curve: list[StepRecord] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def to_bytes(self, trainer: Trainer) -> bytes:
        """Write these results and the state of the trainer as a safetensors file."""
        tensors = {name: value.cpu() for name, value in trainer.state().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        curve = [[float(value) for value in asdict(record).values()] for record in self.curve]
        tensors["curve"] = torch.tensor(curve, dtype=torch.float64)  # [iterations, fields]
        tensors["checks"] = torch.tensor(self.checks, dtype=torch.float64).reshape(-1, 2)
        return save(tensors, {"iteration": str(trainer.iteration)})

    @classmethod
    def from_bytes(cls, content: bytes, trainer: Trainer) -> TrainingState:
        """Read what :meth:`to_bytes` wrote, and restore the trainer."""
        tensors, metadata = read_tensors(content)
        curve = [
            StepRecord(int(row[0]), row[1], row[2], row[3], int(row[4]), row[5])
            for row in tensors.pop("curve").tolist()
        ]
        checks = [(int(number), value) for number, value in tensors.pop("checks").tolist()]
        best = {
            name.removeprefix("best."): tensors.pop(name)
            for name in list(tensors)
            if name.startswith("best.")
        }
        trainer.restore(tensors, int(metadata["iteration"]))
        return cls(curve, checks, best)


class SaveClock:
    """Says when the state is saved again. Saving takes at most a fiftieth of the time, and changes no result.

    Args:
        seconds: shortest time between two saves; 0: the state is saved after each iteration, at any cost.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save inside of this context. The longer that takes, the later comes the next save."""
        began = time.monotonic()
        yield
        ended = time.monotonic()
        pause = max(self._seconds, (ended - began) / _SAVING_SHARE)
        self._next = ended + (pause if self._seconds else 0)
