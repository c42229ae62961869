"""Batches of cached rows, for every stage that trains, and the rows that are held out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcn.errors import DCNError
from dcn.training import batch_rows
from flows.inputs.parallel import batched
from storage.arrays import ArrayReader, PendingRows

_MAX_HELD_OUT = 256


class Batches:
    """Reads the same rows of one or several arrays as float32 tensors on the device of the training.

    Args:
        arrays: the arrays, one row for each image.
        batch_size: number of images in a batch.
        seed: seed of the random order.
        device: device of PyTorch.

    """

    def __init__(self, arrays: Sequence[ArrayReader], batch_size: int, seed: int, device: str) -> None:
        self._arrays = arrays
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._on_cuda = torch.device(device).type == "cuda"

    def random(
        self, rows: npt.NDArray[np.int64], start: int, stop: int
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Read the batches of the iterations ``start`` to before ``stop``, each while the one before is used.

        Yields:
            The rows of the batch, and the rows ``[B, ...]`` of each array.

        """
        drawn = (batch_rows(rows, self._batch_size, self._seed, number) for number in range(start, stop))
        return self._read(drawn)

    def in_order(self, rows: npt.NDArray[np.int64]) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Read all rows in batches, in their order; see :meth:`random`."""
        return self._read(list(few) for few in batched(rows.tolist(), self._batch_size))

    def _read(self, batches: Iterator[list[int]]) -> Iterator[tuple[list[int], list[Tensor]]]:
        pending = ((rows, [array.read_ahead(rows) for array in self._arrays]) for rows in batches)
        current = next(pending, None)
        while current is not None:
            following = next(pending, None)
            yield current[0], [self._on_device(values) for values in current[1]]
            current = following

    def _on_device(self, pending: PendingRows) -> Tensor:
        """Move rows to the device as float32. Pinned memory lets the copy to CUDA run in parallel."""
        values: npt.NDArray[Any] = pending.result()
        batch = torch.from_numpy(values)
        if self._on_cuda:
            batch = batch.pin_memory()
        return batch.to(self._device, non_blocking=True).float()


def hold_out(
    rows: npt.NDArray[np.int64], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split rows into training rows and those that select the weights; if ``share`` is 0, they overlap."""
    if not len(rows):
        raise DCNError(
            "no usable photograph is in the training split; the warnings of index and extract say why"
        )
    count = min(_MAX_HELD_OUT, max(1, round(share * len(rows)))) if share and len(rows) > 1 else 0
    if not count:
        return rows, rows[:_MAX_HELD_OUT]
    shuffled = np.random.default_rng([seed, 0]).permutation(rows)
    return np.sort(shuffled[count:]), np.sort(shuffled[:count])
