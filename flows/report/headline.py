"""The metrics that a person looks at first, in words."""

from __future__ import annotations

from flows.evaluation.protocol import Headline
from flows.evaluation.results import Results


def headline_metrics(results: Results) -> list[Headline]:
    """Collect name, value and meaning of the main metrics of a run, for tables."""
    of_split = f"of the split {results.split}, {results.labelled_images} labelled"
    headlines = [Headline("photographs", f"{results.images}", of_split)]
    for protocol, metrics in results.measured():
        headlines += protocol.headline(metrics)
    return headlines


def detailed_metrics(results: Results) -> list[Headline]:
    """Collect name, value and meaning of the metrics of a run that need an explanation."""
    return [one for protocol, metrics in results.measured() for one in protocol.details(metrics)]
