"""The metrics that a person looks at first, in words."""

from __future__ import annotations

from flows.evaluation.protocol import Headline
from flows.evaluation.results import Results


def headline_metrics(results: Results) -> list[Headline]:
    """Collect name, value and meaning of the main metrics of a run, for tables."""
    labelled = f", {results.labelled_images} labelled" if results.labelled_images else ""
    explanation = (
        "The photographs that were divided into regions, and on which all other numbers are measured."
    )
    headlines = [
        Headline("photographs", f"{results.images}", f"of the split {results.split}{labelled}", explanation)
    ]
    for protocol, metrics in results.measured():
        headlines += protocol.headline(metrics)
    return headlines


def detailed_metrics(results: Results) -> list[Headline]:
    """Collect name, value and meaning of the metrics of a run that need an explanation."""
    return [one for protocol, metrics in results.measured() for one in protocol.details(metrics)]
