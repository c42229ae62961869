"""Stage ``evaluate``: the protocols of section 4 on the evaluated split."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcn.evaluation.attainable import attainable_modularity
from dcn.evaluation.protocols import defined
from dcn.modularity import modularity
from flows import progress
from flows.errors import EmptyDatasetError
from flows.evaluation.classification import classify
from flows.evaluation.dataset_angles import dataset_angles
from flows.evaluation.image_measures import (
    UNLABELLED,
    ShardData,
    class_arrays,
    language_arrays,
    measure,
    segmentation_arrays,
)
from flows.inputs.datasets import open_dataset
from flows.inputs.image_index import ImageIndex, IndexedImage, evenly_spread, open_index
from flows.inputs.models import choose_device
from flows.inputs.parallel import batched, in_threads
from flows.inputs.region_table import region_counts
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from storage import ArraySpec, Manifest

# Images whose attainable modularity is searched together.
_SEARCH_BATCH = 16
# Rows of the photographs whose attainable modularity is searched.
_ATTAINABLE = "attainable.npy"
# Rows of photographs for which an array says nothing; the others have zeros.
_NOTHING = {
    "modularity": np.nan,
    "hard_modularity": np.nan,
    "attainable": np.nan,
    "angles": np.nan,
    "segmentation": np.nan,
    "patch_class": UNLABELLED,
}


class EvaluateStage(Stage):
    """One row per photograph (:mod:`flows.evaluation.image_measures`), ``results.json``, ``semantic.npy``.

    ``modularity [N]`` is that of the loss, ``hard_modularity [N]`` that of the regions, for which every token
    belongs to one cluster; any segmenter has the latter. They and ``attainable [N]`` are NaN outside the
    evaluated split. ``semantic [N, k]`` is that of :func:`flows.evaluation.classification.classify`.
    """

    name = "evaluate"
    version = 3

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        embed = () if settings.regions_are_classes else ("embed",)
        language = () if settings.language.model is None else ("language",)
        return ("index", "extract", "segment", *embed, *language)

    def settings(self, settings: Settings) -> dict[str, Any]:
        chosen = {**settings.evaluate.model_dump(mode="json"), "resolution": settings.train.resolution}
        if settings.segment.segmenter.cosines:
            return {**chosen, "temperature": settings.train.temperature}
        del chosen["attainable_images"]  # a share of it is defined for assignments by cosines only
        return chosen

    def layout(self, job: Job) -> Layout:
        segment, extract = job.checkpoint("segment").require(), job.checkpoint("extract").require()
        classes, k = len(open_index(job).class_names), job.settings.num_regions
        arrays = [
            ArraySpec("modularity", (), "float32", ()),
            ArraySpec("hard_modularity", (), "float32", ()),
            ArraySpec("attainable", (), "float32", ()),
        ]
        if classes:
            arrays.extend(class_arrays(extract.summary["tokens_per_image"], k, classes))
            if job.settings.language.model is not None:
                arrays.extend(language_arrays(k, classes))
        if open_dataset(job.settings.dataset).has_segmentations:
            arrays.extend(segmentation_arrays())
        return Layout(segment.rows, segment.shard_rows, tuple(arrays))

    def prepare(self, job: Job) -> None:
        """Choose once whose attainable modularity is searched: that is a look at the whole index."""
        rows = np.zeros(0, dtype=np.int64)
        if job.settings.segment.segmenter.cosines:
            index = open_index(job)
            evaluated = index.split_rows(index.summary["evaluate_split"])
            rows = evenly_spread(evaluated, job.settings.evaluate.attainable_images)
        job.checkpoint(self.name).write_values(_ATTAINABLE, rows)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        index = open_index(job)
        start, stop = manifest.shard_range(shard)
        arrays = {
            spec.name: np.full((stop - start, *spec.row_shape), _NOTHING.get(spec.name, 0), dtype=spec.dtype)
            for spec in manifest.arrays
        }
        area = job.checkpoint("segment").array("area").rows(start, stop)
        segmented = [image for image in index.images(start, stop) if area[image.row - start].any()]
        split = index.summary["evaluate_split"]
        evaluated = [image for image in segmented if split in image.item.splits]
        data = _shard_data(job, index, start, stop, bool(evaluated))
        chosen = job.checkpoint(self.name).read_values(_ATTAINABLE)
        _measure_modularity(job, evaluated, set(chosen.tolist()), data, arrays)
        refused: list[dict[str, str]] = []
        dataset = open_dataset(job.settings.dataset)
        look = partial(measure, data, dataset)
        measured = segmented if index.class_names or dataset.has_segmentations else []
        for image, (row, rows, problem) in zip(measured, in_threads(look, measured), strict=True):
            for name, values in rows.items():
                arrays[name][row] = values
            if problem:
                refused.append({"file": image.item.mask or image.item.id, "reason": problem})
        progress.advance(self.name, stop - start)
        return ShardResult(arrays, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        checkpoint, index = job.checkpoint(self.name), open_index(job)
        warn_of_refused(checkpoint, manifest, "counts nowhere", warn)
        rows = index.split_rows(index.summary["evaluate_split"])
        counts = region_counts(job)
        rows = rows[counts[rows] > 0]
        if not len(rows):
            raise EmptyDatasetError(
                f"no photograph of the split {index.summary['evaluate_split']} was segmented; dcn extract "
                f"says which were left out and why"
            )
        classified, semantic = classify(job, index, rows, warn)
        results = {
            "split": index.summary["evaluate_split"],
            "images": len(rows),
            "segmentation": _segmentation_figures(job, manifest, rows, counts),
            **classified,
        }
        if classified["labelled_images"]:
            results["angles"] = _angles(job, manifest, rows, len(index.class_names))
        checkpoint.write_values("semantic.npy", semantic)
        checkpoint.write_file("results.json", json.dumps(results, indent=1, allow_nan=False).encode())
        return results


def _shard_data(job: Job, index: ImageIndex, start: int, stop: int, evaluated: bool) -> ShardData:
    segment, extract = job.checkpoint("segment"), job.checkpoint("extract")
    measured = stop if evaluated else start  # of photographs that are only in the bank, the overlap is enough
    language = None if job.settings.language.model is None else job.checkpoint("language")
    return ShardData(
        start=start,
        assignment=segment.array("assignment").rows(start, stop),
        foreground=segment.array("foreground").rows(start, stop),
        attention=extract.array("attention").rows(start, measured),
        tokens=extract.array("tokens").rows(start, measured),
        logits=None if language is None else language.array("logits").rows(start, measured),
        num_classes=len(index.class_names),
        evaluate_split=index.summary["evaluate_split"],
    )


def _measure_modularity(
    job: Job,
    evaluated: list[IndexedImage],
    chosen: set[int],
    data: ShardData,
    arrays: dict[str, npt.NDArray[Any]],
) -> None:
    """Modularity of these photographs, and of the chosen ones what is attainable."""
    device = choose_device(job.settings.backbone.device)
    resolution, temperature = job.settings.train.resolution, job.settings.train.temperature
    for images in batched(evaluated, _SEARCH_BATCH):
        rows = np.array([image.row - data.start for image in images])
        batch = torch.from_numpy(data.tokens[rows]).to(device).float()  # [B, n, d]
        assignment = torch.from_numpy(data.assignment[rows]).to(device).float()  # [B, n, k]
        if job.settings.segment.segmenter.cosines:  # only its assignments are cosines
            reached = modularity(batch, assignment, resolution, temperature)
            arrays["modularity"][rows] = reached.cpu().numpy()
        hard = torch.nn.functional.one_hot(assignment.argmax(dim=-1), assignment.shape[-1])
        arrays["hard_modularity"][rows] = modularity(batch, hard, resolution).cpu().numpy()
        searched = [i for i, image in enumerate(images) if image.row in chosen]
        if searched:
            best = attainable_modularity(batch[searched], job.settings.num_regions, resolution, temperature)
            arrays["attainable"][rows[searched]] = best.cpu().numpy()


def _segmentation_figures(
    job: Job, manifest: Manifest, rows: npt.NDArray[np.int64], counts: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    checkpoint = job.checkpoint("evaluate")
    reached = checkpoint.array("modularity").rows(0, manifest.rows)[rows]
    attainable = checkpoint.array("attainable").rows(0, manifest.rows)[rows]
    searched = ~np.isnan(attainable)
    figures: dict[str, Any] = {
        "regions_per_image": float(counts[rows].sum() / len(rows)),
        "hard_modularity": float(checkpoint.array("hard_modularity").rows(0, manifest.rows)[rows].mean()),
    }
    if job.settings.segment.segmenter.cosines:
        figures["modularity"] = float(reached.mean())
    if searched.any():
        figures |= {
            "attainable_modularity": float(attainable[searched].mean()),
            "attainable_images": int(searched.sum()),
            "share_of_attainable": float(reached[searched].mean() / attainable[searched].mean()),
        }
    if any(spec.name == "segmentation" for spec in manifest.arrays):
        scores = checkpoint.array("segmentation").rows(0, manifest.rows)[rows]
        names = ("covering", "rand_index", "variation_of_information")
        means = _means(scores)
        figures |= dict(zip(names, means, strict=True))
    return figures


def _angles(
    job: Job, manifest: Manifest, rows: npt.NDArray[np.int64], num_classes: int
) -> dict[str, dict[str, float | None]]:
    """Angles within single images, averaged over the images, and over the whole data set (section 1)."""
    checkpoint = job.checkpoint("evaluate")
    intra, inter = _means(checkpoint.array("angles").rows(0, manifest.rows)[rows])
    shards = np.unique(rows // manifest.shard_rows).tolist()
    whole = dataset_angles(job.checkpoint("extract"), checkpoint, manifest, shards, num_classes)
    return {
        "single_images": {"intra_class": intra, "inter_class": inter},
        "data_set": {name: defined(value) for name, value in whole.items()},
    }


def _means(values: npt.NDArray[np.float32]) -> list[float | None]:
    """Mean of every column over the rows that have it."""
    return [
        defined(column[~np.isnan(column)].mean() if not np.isnan(column).all() else np.nan)
        for column in values.T.astype(np.float64)
    ]
