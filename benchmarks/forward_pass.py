"""A stage that looks at pictures against timm's forward pass alone, on tensors that are in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.pairs import measure_pairs
from benchmarks.photographs import forget, run, timms_model
from benchmarks.row import Row
from flows.settings import Settings


def against_forward_pass(
    settings: Settings,
    stage: str,
    batches: Sequence[Tensor],
    unit: str,
    goal: float,
    pairs: int,
) -> Row:
    """How near a stage comes to the forward pass of what it looks at.

    Args:
        settings: what the stage reads is there.
        stage: is run anew each time, to a complete checkpoint.
        batches: ``[b, 3, size, size]`` normalized, of the stage's own size. What the model says of them is
            dropped.
        unit: what there is one of in a row of a batch, in the plural.
        goal: for the ratio of these per second.
        pairs: see :func:`benchmarks.pairs.measure_pairs`.

    """
    model = timms_model(settings)

    @torch.inference_mode()
    def forward_pass() -> None:
        for batch in batches:
            model(batch)

    ratio, details = measure_pairs(
        forward_pass, lambda: run(settings, stage), pairs, before=lambda: forget(settings, stage)
    )
    count = sum(len(batch) for batch in batches)
    per_second = {f"{unit} per second": count / details["seconds of the candidate"]}
    return Row(
        f"{stage}, {settings.backbone.precision}", "timm's forward pass alone", ratio,
        f"of its {unit} per second", goal, details=per_second | details,
    )  # fmt: skip
