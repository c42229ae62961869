"""The plots of the page: the loss, the numbers of regions, and those of the protocols."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.results import Results
from flows.inputs.region_counts import region_counts
from flows.report.page import plot_uri
from flows.report.training_curve import training_caption, training_figure
from flows.stage import Job


@dataclass(frozen=True)
class PagePlot:
    """A plot as a data URI, what it shows in a few words, and how to read it."""

    picture: str
    alt: str
    caption: str


def page_plots(job: Job, results: Results) -> Iterator[PagePlot]:
    """Draw the plots that the run has data for."""
    if job.settings.segment.segmenter.trained:
        yield _plot(training_figure(job), "loss over iterations", training_caption(job))
    caption = "Regions per photograph, at its original size."
    yield _plot(_regions_histogram(job), "regions per photograph", caption)
    run = EvaluatedRun.open(job)
    for protocol, metrics in results.measured():
        for plot in protocol.plots(run, metrics):
            yield _plot(plot.figure, plot.title, plot.caption)


def _regions_histogram(job: Job) -> Figure:
    counts, k = region_counts(job), job.settings.num_regions
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(1, k + 1), [int((counts == i).sum()) for i in range(1, k + 1)])
    axes.set(xlabel="regions", ylabel="photographs", xticks=range(1, k + 1))
    return figure


def _plot(figure: Figure, alt: str, caption: str) -> PagePlot:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return PagePlot(plot_uri(figure), alt, caption)
