"""Stage ``evaluate``: every protocol of the table on the evaluated split (section 4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from dcn.clusterers import KMeansClusterer
from flows import progress
from flows.errors import EmptyDatasetError
from flows.evaluation import protocols
from flows.evaluation.inputs import EvaluatedRun, Shard, open_photograph, read_shard
from flows.evaluation.protocol import Protocol, Rows
from flows.evaluation.region_table import region_blocks
from flows.evaluation.results import Results
from flows.inputs.image_index import IndexedImage
from flows.inputs.parallel import in_threads
from flows.inputs.region_counts import region_counts
from flows.inputs.region_embeddings import fit_region_whitening, lost_directions
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from storage import Manifest

AnyProtocol = Protocol[Any]


class EvaluateStage(Stage):
    """The arrays of the protocols, and ``results.json`` (:class:`flows.evaluation.results.Results`)."""

    name = "evaluate"
    version = 6
    always_in_key = frozenset({"protocols"})

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        embed = () if settings.regions_are_classes else ("embed",)
        truth = ("embed_truth",) if settings.embeds_true_regions else ()
        layers = ("token_layers",) if settings.more_token_layers else ()
        head = (*layers, "distill") if settings.distills else ()
        language = ("language",) if settings.classifies_by_language else ()
        return ("index", "extract", "segment", *embed, *truth, *head, *language)

    def settings(self, settings: Settings) -> dict[str, Any]:
        chosen = {
            **settings.evaluate.model_dump(mode="json"),
            "resolution": settings.train.resolution,
            "whiten": settings.embed.whiten,
            # A new protocol, or a new version of one, is another content.
            "protocols": {
                protocol.name: protocol.version
                for protocol in protocols.PROTOCOLS
                if protocol.is_wanted(settings)
            },
        }
        del chosen["true_regions"]  # the inputs show it
        if settings.evaluate.clustering == KMeansClusterer():
            del chosen["clustering"]  # the name of a table's entry is always kept, and keys are older
        if settings.segment.segmenter.cosines:
            loss = settings.train.model_dump(include={"temperature", "expected_affinity"})
            return {**chosen, **loss}
        del chosen["attainable_images"]  # a share of the attainable modularity needs cosines
        return chosen

    def layout(self, job: Job) -> Layout:
        segment = job.checkpoint("segment").require()
        run = EvaluatedRun.open(job)
        specs = tuple(array.spec for protocol in _applying(run) for array in protocol.arrays(run))
        return Layout(segment.rows, segment.shard_rows, specs)

    def prepare(self, job: Job) -> None:
        run = EvaluatedRun.open(job)
        fit_region_whitening(job, self.name)
        for protocol in _applying(run):
            protocol.prepare(run)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        run = EvaluatedRun.open(job)
        applying = _applying(run)
        start, stop = manifest.shard_range(shard)
        inputs = read_shard(run, start, stop)
        arrays: dict[str, npt.NDArray[Any]] = {}
        for protocol in applying:
            own = {
                array.spec.name: np.full((stop - start, *array.spec.row_shape), array.fill, array.spec.dtype)
                for array in protocol.arrays(run)
            }
            protocol.measure_shard(run, inputs, own)
            arrays |= own

        refused: list[dict[str, str]] = []

        def measure(image: IndexedImage) -> tuple[int, Rows, str]:
            return _measure(run, applying, inputs, image)

        images = inputs.segmented
        for image, (row, rows, problem) in zip(images, in_threads(measure, images), strict=True):
            for name, values in rows.items():
                arrays[name][row] = values
            if problem:
                refused.append({"file": image.item.mask or image.item.id, "reason": problem})
        progress.advance(self.name, stop - start)
        return ShardResult(arrays, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        checkpoint, run = job.checkpoint(self.name), EvaluatedRun.open(job)
        warn_of_refused(checkpoint, manifest, "gives no ground truth", warn)
        rows = run.evaluated_rows()
        rows = rows[region_counts(job)[rows] > 0]
        if not len(rows):
            raise EmptyDatasetError(
                f"no photograph of the split {run.index.summary.evaluate_split} was segmented; dcn extract "
                f"says which were left out and why"
            )
        if run.settings.whitens and (lost := lost_directions(job)):
            warn(lost)
        results = _evaluate(run, rows, warn).to_json()
        checkpoint.write_file("results.json", json.dumps(results, indent=1, allow_nan=False).encode())
        return results


def _applying(run: EvaluatedRun) -> list[AnyProtocol]:
    return [protocol for protocol in protocols.PROTOCOLS if protocol.applies(run)]


def _measure(
    run: EvaluatedRun, applying: Sequence[AnyProtocol], shard: Shard, image: IndexedImage
) -> tuple[int, Rows, str]:
    """Measure one photograph: its number in the shard, its values by array, what is wrong with its mask."""
    photograph, problem = open_photograph(run, shard, image)
    rows: Rows = {}
    for protocol in applying:
        if photograph.evaluated or protocol.all_splits:
            rows |= protocol.measure(photograph)
    return photograph.row, rows, problem


def _evaluate(run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Results:
    """Go once over the regions of the evaluated photographs, block by block, for all protocols.

    Args:
        run: the run; all arrays are complete.
        rows: the evaluated photographs that have regions.
        warn: takes what a reader of the metrics should know.

    """
    tallies = [(protocol, protocol.tally(run, rows, warn)) for protocol in _applying(run)]
    labelled = unembedded = 0
    classes = np.zeros(max(1, run.num_classes), dtype=np.bool_)
    for block in region_blocks(run.job, rows):
        labelled_here = len(np.unique(block.image[block.overlap.any(axis=1)]))
        labelled += labelled_here
        classes |= block.overlap.any(axis=0)
        wanted = np.full(len(block.index), True) if run.settings.embeds_background else block.foreground
        unembedded += int((wanted & ~block.embedded).sum())
        for protocol, tally in tallies:
            if labelled_here or not protocol.needs_labels:
                tally.add(block)
    without_embedding = None if run.settings.regions_are_classes or not unembedded else unembedded
    if without_embedding:
        warn(
            f"{unembedded} regions have no embedding (the photograph could not be read, or the embedding is "
            f"not finite); they count as background"
        )
    if run.settings.finds_foreground and classes.sum() > 1 and not classes[0]:
        warn(
            f"no labelled pixel of the split {run.index.summary.evaluate_split} is "
            f"{run.index.class_names[0]!r}, but background regions get this class; set evaluate.background "
            f"to none"
        )
    if classes.sum() == 1:
        name = run.index.class_names[int(classes.argmax())]
        warn(
            f"all labelled pixels of the split {run.index.summary.evaluate_split} are {name!r}, so metrics "
            f"of classes are not defined; look at the masks and their values"
        )
    sections: dict[str, BaseModel] = {
        protocol.name: tally.metrics() for protocol, tally in tallies if labelled or not protocol.needs_labels
    }
    return Results(run.index.summary.evaluate_split, len(rows), labelled, without_embedding, sections)
