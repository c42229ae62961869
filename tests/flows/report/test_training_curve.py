"""The plot of the training: what it shows is in the curve of the run, and its caption names an early end."""

import json

import numpy as np
import pytest

from flows.execution.plan import find_job
from flows.inputs.summaries import TrainSummary
from flows.report.training_curve import training_caption, training_figure
from flows.settings import Settings
from tests.dcn.test_early_stopping import plain_means
from tests.flows.helpers import changed, run_stages


def test_the_plot_shows_batches_checks_and_their_means(finished: Settings) -> None:
    job = find_job(finished)
    curve = json.loads(job.checkpoint("train").read_file("curve.json"))
    batches, held_out = training_figure(job).axes
    lines = {
        str(line.get_label()): np.asarray(line.get_xydata())
        for axes in (batches, held_out)
        for line in axes.lines
    }
    loss = [-step["modularity"] for step in curve["steps"]]
    np.testing.assert_allclose(lines["training batch"], list(zip(range(1, 13), loss)))
    means = [[3 * i + 3, np.mean(loss[3 * i : 3 * i + 3])] for i in range(4)]
    np.testing.assert_allclose(lines["mean between checks"], means)
    checks = np.array(curve["held_out"])
    np.testing.assert_allclose(lines["held-out photographs"], checks * [1, -1])
    smooth = np.negative(plain_means(checks[:, 1].tolist()))
    np.testing.assert_allclose(lines["mean of 3 checks"], np.stack([checks[:, 0], smooth], axis=1))
    best = checks[checks[:, 1].argmax()]
    np.testing.assert_allclose(lines["weights that were kept"], [best * [1, -1]])
    for axes in (batches, held_out):
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [line.get_label() for line in axes.lines]
    assert "ended" not in training_caption(job)


@pytest.mark.parametrize("patience", [1, 3])
def test_the_caption_says_that_the_training_ended_early(copy: Settings, patience: int) -> None:
    """With a tiny learning rate nothing improves, so training ends at the first check that may end it."""
    train = {"check_every": 1, "patience": patience, "learning_rate": 1e-12, "num_stages": 1}
    settings = changed(copy, train=train)
    run_stages(settings, "train")
    job = find_job(settings)
    assert TrainSummary.read(job).iterations == patience + 1
    end = f"Training ended after {patience + 1} of 12 iterations: held-out modularity stood still."
    assert training_caption(job).endswith(end)
    assert len(training_figure(job).axes) == 2
