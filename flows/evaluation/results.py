"""Typed results of the evaluation, as ``results.json`` and the manifest of ``evaluate`` hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from flows.errors import FlowError
from flows.evaluation import protocols
from flows.evaluation.protocol import Classification, Metrics, Protocol
from flows.inputs.summaries import unreadable_summary
from flows.stage import Job
from storage import Manifest

# The first entries of results.json, in the order that it has had since its first version.
_FIRST = ("split", "images", "segmentation", "labelled_images", "regions_without_embedding")


class _Counts(BaseModel):
    """The entries of ``results.json`` that are no section of a protocol."""

    split: str
    images: int
    labelled_images: int
    regions_without_embedding: int | None = None


@dataclass(frozen=True)
class Results:
    """Metrics of every protocol that applied to a run.

    Attributes:
        split: the evaluated split.
        images: evaluated photographs that have regions.
        labelled_images: photographs of these with a labelled pixel.
        regions_without_embedding: regions that count as background for lack of an embedding; None if there
            is none, or if the run has no embeddings.
        sections: metrics by the name of their protocol, in the order of the table.

    Example::

        results = read_results(job)
        results.of(KMeans).miou

    """

    split: str
    images: int
    labelled_images: int
    regions_without_embedding: int | None
    sections: Mapping[str, BaseModel]

    def of(self, protocol: type[Protocol[Metrics]]) -> Metrics:
        """Metrics of a protocol.

        Raises:
            FlowError: the protocol has no metrics in this run.

        """
        found = self.find(protocol)
        if found is None:
            raise FlowError(
                f"the results have no section {protocol.name}: the protocol does not apply to this run, or "
                f"no evaluated photograph is labelled. The sections are {', '.join(self.sections)}"
            )
        return found

    def find(self, protocol: type[Protocol[Metrics]]) -> Metrics | None:
        """Metrics of a protocol; None if it has none in this run."""
        return cast("Metrics | None", self.sections.get(protocol.name))

    def measured(self) -> Iterator[tuple[Protocol[Any], Any]]:
        """Every protocol that has metrics in this run, with its metrics, in the order of the table."""
        for protocol in protocols.PROTOCOLS:
            if protocol.name in self.sections:
                yield protocol, self.sections[protocol.name]

    def classifications(self) -> list[Classification]:
        """Every classification of the evaluated pixels, in the order in which pages show them."""
        ordered = sorted(self.measured(), key=lambda pair: pair[0].group)
        return [found for protocol, metrics in ordered for found in protocol.classifications(metrics)]

    def to_json(self) -> dict[str, Any]:
        """Convert to the content of ``results.json``. Fields that were never set are absent."""
        values = {name: value for name in _Counts.model_fields if (value := getattr(self, name)) is not None}
        for name, metrics in self.sections.items():
            values[name] = metrics.model_dump(mode="json", exclude_unset=True)
        return {name: values[name] for name in _FIRST if name in values} | values

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Results:
        """Read the content of ``results.json``.

        Raises:
            pydantic.ValidationError: a section lacks metrics of its protocol, or has others.

        """
        sections = {
            protocol.name: protocol.metrics_type.model_validate(value[protocol.name])
            for protocol in protocols.PROTOCOLS
            if protocol.name in value
        }
        return cls(**_Counts.model_validate(value).model_dump(), sections=sections)

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Results:
        """Read the results from the complete manifest of ``evaluate``.

        Raises:
            InvalidSummaryError: other software wrote the results.

        """
        try:
            return cls.from_json(manifest.summary)
        except ValidationError as error:
            raise unreadable_summary(manifest, error) from error


def read_results(job: Job) -> Results:
    """Read the results of a run.

    Raises:
        CheckpointMissingError: ``evaluate`` is not complete.
        InvalidSummaryError: other software wrote the results.

    """
    return Results.from_manifest(job.checkpoint("evaluate").require())
