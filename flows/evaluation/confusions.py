"""Sums of confusion matrices over blocks of regions: most protocols need nothing else."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from dcn.evaluation.protocols import Regions
from flows.evaluation.protocol import Metrics, Tally

Matrix = npt.NDArray[np.int64]
Key = TypeVar("Key", bound=Hashable)


class ConfusionTally(Tally[Metrics], Generic[Key, Metrics]):
    """Adds up confusion matrices, and computes the metrics of the sums.

    Args:
        confusions: computes the matrices of one block, by any key: a variant, a number of neighbors.
        metrics: computes the metrics of the summed matrices.

    """

    def __init__(
        self,
        confusions: Callable[[Regions], Mapping[Key, Matrix]],
        metrics: Callable[[Mapping[Key, Matrix]], Metrics],
    ) -> None:
        self._confusions = confusions
        self._metrics = metrics
        self._totals: dict[Key, Matrix] = {}

    def add(self, block: Regions) -> None:
        add_confusions(self._totals, self._confusions(block))

    def metrics(self) -> Metrics:
        return self._metrics(self._totals)


def add_confusions(totals: dict[Key, Matrix], found: Mapping[Key, Matrix]) -> None:
    """Add confusion matrices to running totals, in place.

    A matrix may have fewer rows than its total, or more: the last clusters may not occur in a block.
    """
    for key, matrix in found.items():
        fewer, more = sorted((totals.get(key, matrix[:0]), matrix), key=len)
        totals[key] = more.copy()
        totals[key][: len(fewer)] += fewer
