"""A whole training of the paper by ``Trainer``: from tokens on the device, and from pinned host memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.measurement import Measured, forget_peak, peak_gigabytes, wait
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.training_step import make_network
from benchmarks.training_step import grouped_tokens
from dcn.training import Trainer

PAPERS_ITERATIONS, GOAL_SECONDS = 2500, 60
_WARM_UP = 3
# Batches of different images; the run draws its rows from them.
_DIFFERENT_BATCHES = 8


def measure(scale: Scale) -> Iterator[Measured]:
    """Seconds of the iterations, and of 2,500 of them, which is an extrapolation where fewer ran."""
    torch.manual_seed(0)
    host = grouped_tokens(_DIFFERENT_BATCHES * scale.batch, scale.tokens).half()  # [N, n, d] float16
    on_device = host.to(scale.device)

    def from_device(rows: Tensor) -> Tensor:
        return on_device[rows.to(scale.device)].float()

    def from_host(rows: Tensor) -> Tensor:
        """As the stage ``train`` does it."""
        batch = host[rows]
        if scale.device == "cuda":
            batch = batch.pin_memory()
        return batch.to(scale.device, non_blocking=True).float()

    yield _run(scale, "tokens in float16 in host memory", from_host)
    yield _run(scale, "tokens in float16 on the device", from_device)


def _run(scale: Scale, where: str, load: Callable[[Tensor], Tensor]) -> Measured:
    trainer = Trainer(make_network(scale), iterations=scale.iterations)
    generator = np.random.default_rng(0)

    def steps(count: int) -> None:
        for _ in range(count):
            rows = torch.from_numpy(generator.integers(0, _DIFFERENT_BATCHES * scale.batch, scale.batch))
            trainer.step(load(rows), repeat(""))
        wait(scale.device)

    forget_peak(scale.device)
    steps(_WARM_UP)
    began = time.perf_counter()
    steps(scale.iterations)
    seconds = time.perf_counter() - began
    whole = seconds * PAPERS_ITERATIONS / scale.iterations
    how = "" if scale.iterations == PAPERS_ITERATIONS else f", EXTRAPOLATED from {scale.iterations}"
    return {
        "what": f"goal: {PAPERS_ITERATIONS} iterations of {scale.batch} in under {GOAL_SECONDS} s; "
        f"{where}{how}",
        "s": whole,
        "goal": "met" if whole < GOAL_SECONDS else "missed",
        "GB": peak_gigabytes(scale.device),
    }
