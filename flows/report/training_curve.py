"""Plot the training: the loss of the batches, and of the held-out photographs at each check."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcn.early_stopping import SMOOTHED_CHECKS, smoothed
from flows.inputs.summaries import TrainSummary
from flows.stage import Job

_BATCHES, _HELD_OUT, _KEPT = "#2f5d8c", "#c2571a", "#333333"


def training_figure(job: Job) -> Figure:
    """Draw the losses over the iterations of a run whose ``train`` is complete.

    The panels have scales of their own: batches differ much more from each other than checks do.
    """
    curve = json.loads(job.checkpoint("train").read_file("curve.json"))
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    batches, held_out = figure.subplots(1, 2, sharex=True)
    iteration, modularity = np.array(curve["held_out"]).T  # [checks]
    _draw_batches(batches, np.array([step["modularity"] for step in curve["steps"]]), iteration)
    _draw_held_out(held_out, iteration, modularity, TrainSummary.read(job))
    batches.set_ylabel("loss (negative modularity)")
    for axes in (batches, held_out):
        axes.set_xlabel("iteration")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, fontsize=8)
    return figure


def _draw_batches(axes: Axes, modularity: npt.NDArray[np.float64], checks: npt.NDArray[np.float64]) -> None:
    numbers = range(1, len(modularity) + 1)
    axes.plot(numbers, -modularity, color=_BATCHES, alpha=0.4, lw=0.6, label="training batch")
    parts = np.split(modularity, checks.astype(int)[:-1])
    axes.plot(checks, [-part.mean() for part in parts], color=_BATCHES, lw=1.8, label="mean between checks")


def _draw_held_out(
    axes: Axes, checks: npt.NDArray[np.float64], modularity: npt.NDArray[np.float64], summary: TrainSummary
) -> None:
    axes.plot(checks, -modularity, "o", color=_HELD_OUT, ms=3, alpha=0.6, label="held-out photographs")
    means = -np.array(smoothed(modularity.tolist()))  # [checks]
    axes.plot(checks, means, color=_HELD_OUT, lw=1.8, label=f"mean of {SMOOTHED_CHECKS} checks")
    axes.plot(
        summary.best_iteration,
        -summary.held_out_modularity,
        "*",
        color=_KEPT,
        ms=11,
        mfc="none",
        label="weights that were kept",
    )


def training_caption(job: Job) -> str:
    """Explain the plot, and say why training ended early if it did."""
    planned = job.settings.train.iterations
    end = TrainSummary.read(job).describe_end(planned)
    explained = (
        "Loss over the iterations: of training batches (left), and of the held-out photographs, which select "
        "the weights (right). The two scales differ."
    )
    return f"{explained} Training {end}." if end else explained
