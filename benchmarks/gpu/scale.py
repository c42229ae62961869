"""Sizes of the measured work: those of the paper on a GPU, and tiny ones that show that the script runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Device and sizes.

    Attributes:
        device: ``"cuda"`` or ``"cpu"``.
        batch: images of a training step.
        tokens: patches of an image, ``n``.
        dim: width of a token, ``d``.
        prototypes: clusters, ``k``.
        iterations: training steps of a whole run.
        loss_cases: pairs of images and tokens for which the loss is compared.
        batches: photographs that the backbone takes at once, one row each.
        photographs: number of files that ``extract`` reads, by default as many as VOC 2012 has.
        segmented: number of files that ``segment`` and ``embed`` read; they take longer.
        distinct: number of different photographs among them; drawing takes longer than decoding.
        repeats: timed calls of a short piece of work; the median counts.

    """

    device: str
    batch: int = 32
    tokens: int = 784
    dim: int = 384
    prototypes: int = 5
    iterations: int = 2500
    loss_cases: tuple[tuple[int, int], ...] = ((8, 784), (2, 3136))
    batches: tuple[int, ...] = (32, 64, 128, 256)
    photographs: int = 12_031
    segmented: int = 1000
    distinct: int = 100
    repeats: int = 20


# For a machine without a GPU: the ratios mean nothing there.
SMALL = Scale(
    "cpu",
    batch=2,
    tokens=64,
    iterations=3,
    loss_cases=((2, 64),),
    batches=(1,),
    photographs=6,
    segmented=4,
    distinct=2,
    repeats=1,
)
