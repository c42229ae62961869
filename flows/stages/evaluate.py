"""Stage ``evaluate``: the protocols of section 4 on the evaluated split."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcn.attainable import attainable_modularity
from dcn.errors import InvalidMaskError
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.protocols import (
    Regions,
    foreground_quality,
    kmeans_classes,
    kmeans_labels,
    kmeans_predictions,
    mean_and_deviation,
    upper_bound,
)
from dcn.modularity import modularity
from dcn.regions import label_map
from flows import progress
from flows.errors import EmptyDatasetError
from flows.image_index import ImageIndex, IndexedImage, open_index
from flows.inputs import batched, choose_device, open_dataset
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn
from storage import ArraySpec, Manifest

_DEFAULT_CLUSTERS = 20
# Images whose attainable modularity is searched together.
_SEARCH_BATCH = 16


class EvaluateStage(Stage):
    """``overlap [N, k, C]``, ``modularity [N]``, ``attainable [N]``, ``results.json``, ``semantic.npy``.

    Rows outside the evaluated split are zero, or NaN. ``semantic [N, k]`` has the class of every region by
    the k-means seed of least inertia, -1 where a region does not occur or was not evaluated.
    """

    name = "evaluate"
    reads = ("index", "extract", "train", "segment", "embed")

    def settings(self, settings: Settings) -> dict[str, Any]:
        return {**settings.evaluate.model_dump(mode="json"), "resolution": settings.train.resolution}

    def layout(self, job: Job) -> Layout:
        segment = job.checkpoint("segment").require()
        classes, k = len(open_index(job).class_names), job.settings.train.num_prototypes
        arrays = [
            ArraySpec("modularity", (), "float32", ()),
            ArraySpec("attainable", (), "float32", ()),
        ]
        if classes:
            arrays.append(ArraySpec("overlap", (k, classes), "int64", ("region", "class")))
        return Layout(segment.rows, segment.shard_rows, tuple(arrays))

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        index = open_index(job)
        start, stop = manifest.shard_range(shard)
        evaluated = _evaluated_images(job, index, start, stop)
        chosen = set(_attainable_rows(job, index).tolist())
        arrays: dict[str, npt.NDArray[Any]] = {
            "modularity": np.full(stop - start, np.nan, dtype=np.float32),
            "attainable": np.full(stop - start, np.nan, dtype=np.float32),
        }
        self._measure_modularity(job, evaluated, chosen, start, arrays)
        refused: list[dict[str, str]] = []
        if index.class_names:
            arrays["overlap"], refused = _count_overlap(job, evaluated, start, stop, len(index.class_names))
        progress.advance(self.name, stop - start)
        return ShardResult(arrays, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        checkpoint = job.checkpoint(self.name)
        for record in checkpoint.records(manifest):
            for entry in record.info["refused"]:
                warn(f"{entry['file']} was left out: {entry['reason']}")
        index = open_index(job)
        rows = index.split_rows(index.summary["evaluate_split"])
        area = job.checkpoint("segment").array("area").rows(0, manifest.rows)
        rows = rows[(area[rows] > 0).any(axis=1)]
        if not len(rows):
            raise EmptyDatasetError(
                f"no photograph of the split {index.summary['evaluate_split']} was segmented; dcn extract "
                f"says which were left out and why"
            )
        results: dict[str, Any] = {
            "split": index.summary["evaluate_split"],
            "images": len(rows),
            "segmentation": _segmentation_figures(job, manifest, rows, area),
        }
        semantic = np.full(area.shape, -1, dtype=np.int16)
        self._classify(job, manifest, index, rows, area, results, semantic, warn)
        buffer = io.BytesIO()
        np.save(buffer, semantic, allow_pickle=False)
        checkpoint.write_file("semantic.npy", buffer.getvalue())
        checkpoint.write_file("results.json", json.dumps(results, indent=1, allow_nan=False).encode())
        return results

    def _measure_modularity(
        self,
        job: Job,
        evaluated: list[IndexedImage],
        chosen: set[int],
        start: int,
        arrays: dict[str, npt.NDArray[Any]],
    ) -> None:
        settings, device = job.settings.train, choose_device(job.settings.backbone.device)
        tokens = job.checkpoint("extract").array("tokens")
        assignments = job.checkpoint("segment").array("assignment")
        for images in batched(evaluated, _SEARCH_BATCH):
            rows = np.array([image.row for image in images])
            batch = torch.from_numpy(tokens.read_ahead(rows).result()).to(device).float()  # [B, n, d]
            assignment = torch.from_numpy(assignments.read_ahead(rows).result()).to(device).float()
            values = modularity(batch, assignment, settings.resolution)
            arrays["modularity"][rows - start] = values.cpu().numpy()
            searched = [i for i, row in enumerate(rows.tolist()) if row in chosen]
            if searched:
                best = attainable_modularity(batch[searched], settings.num_prototypes, settings.resolution)
                arrays["attainable"][rows[searched] - start] = best.cpu().numpy()

    def _classify(
        self,
        job: Job,
        manifest: Manifest,
        index: ImageIndex,
        rows: npt.NDArray[np.int64],
        area: npt.NDArray[np.int64],
        results: dict[str, Any],
        semantic: npt.NDArray[np.int16],
        warn: Warn,
    ) -> None:
        """Fill ``results`` and ``semantic`` from the regions of the evaluated photographs."""
        settings, num_classes = job.settings.evaluate, len(index.class_names)
        overlap = np.zeros((*area.shape, max(1, num_classes)), dtype=np.int64)
        if num_classes:
            overlap = job.checkpoint(self.name).array("overlap").rows(0, manifest.rows)
        image_of, region_of = np.nonzero(area[rows] > 0)
        image_of = rows[image_of]
        foreground = job.checkpoint("segment").array("foreground").rows(0, manifest.rows)
        embedding = job.checkpoint("embed").array("embedding").rows(0, manifest.rows)
        regions = Regions(
            overlap[image_of, region_of], foreground[image_of, region_of], embedding[image_of, region_of]
        )
        wanted = settings.num_clusters or (num_classes - 1 if num_classes else _DEFAULT_CLUSTERS)
        runs = kmeans_labels(regions, wanted, settings.num_seeds)
        found = int(runs[0].labels.max(initial=-1)) + 1
        if found < wanted:
            warn(
                f"k-means has {found} clusters instead of {wanted}: there are only "
                f"{int(regions.foreground.sum())} foreground regions"
            )
        chosen = int(np.argmin([run.inertia for run in runs]))
        results["kmeans"] = {"clusters": found, "seeds": len(runs), "shown_seed": chosen}
        results["labelled_images"] = len(np.unique(image_of[regions.overlap.any(axis=1)]))
        if results["labelled_images"]:
            classified = [kmeans_classes(regions, run) for run in runs]
            for name in ("miou", "accuracy"):
                mean, deviation = mean_and_deviation([figures[name] for _, figures in classified])
                results["kmeans"] |= {name: mean, f"{name}_deviation": deviation}
            results["kmeans"]["class_iou"] = classified[chosen][1]["class_iou"]
            results["upper_bound"] = upper_bound(regions)
            results["foreground"] = foreground_quality(regions)
            semantic[image_of, region_of] = classified[chosen][0]
        else:
            semantic[image_of, region_of] = kmeans_predictions(regions, runs[chosen])


def _evaluated_images(job: Job, index: ImageIndex, start: int, stop: int) -> list[IndexedImage]:
    """Photographs of the evaluated split in these rows that were segmented."""
    area = job.checkpoint("segment").array("area").rows(start, stop)
    split = index.summary["evaluate_split"]
    return [
        image
        for image in index.images(start, stop)
        if split in image.item.splits and area[image.row - start].any()
    ]


def _attainable_rows(job: Job, index: ImageIndex) -> npt.NDArray[np.int64]:
    """Rows of the evaluated split, evenly spread, whose attainable modularity is searched."""
    rows = index.split_rows(index.summary["evaluate_split"])
    count = min(len(rows), job.settings.evaluate.attainable_images)
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)] if count else rows[:0]


def _count_overlap(
    job: Job, evaluated: list[IndexedImage], start: int, stop: int, num_classes: int
) -> tuple[npt.NDArray[np.int64], list[dict[str, str]]]:
    dataset = open_dataset(job.settings.dataset)
    k = job.settings.train.num_prototypes
    assignment = job.checkpoint("segment").array("assignment").rows(start, stop)
    overlap = np.zeros((stop - start, k, num_classes), dtype=np.int64)
    refused = []
    for image in evaluated:
        if not image.labelled:
            continue
        try:
            mask = dataset.read_mask(image.item, image.height, image.width)
        except (InvalidMaskError, OSError) as error:
            refused.append({"file": image.item.mask or image.item.id, "reason": f"mask: {error}"})
            continue
        assert mask is not None
        row = image.row - start
        labels = label_map(assignment[row], image.height, image.width)
        overlap[row] = region_overlap(labels, mask, k, num_classes)
    return overlap, refused


def _segmentation_figures(
    job: Job, manifest: Manifest, rows: npt.NDArray[np.int64], area: npt.NDArray[np.int64]
) -> dict[str, Any]:
    checkpoint = job.checkpoint("evaluate")
    reached = checkpoint.array("modularity").rows(0, manifest.rows)[rows]
    attainable = checkpoint.array("attainable").rows(0, manifest.rows)[rows]
    searched = ~np.isnan(attainable)
    figures: dict[str, Any] = {
        "regions_per_image": float((area[rows] > 0).sum() / len(rows)),
        "modularity": float(reached.mean()),
    }
    if searched.any():
        figures |= {
            "attainable_modularity": float(attainable[searched].mean()),
            "share_of_attainable": float(reached[searched].mean() / attainable[searched].mean()),
            "attainable_images": int(searched.sum()),
        }
    return figures
