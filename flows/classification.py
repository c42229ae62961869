"""Classes of regions by every protocol of section 4, and their figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.evaluation.overlap import confusion_matrix
from dcn.evaluation.protocols import (
    Regions,
    figures,
    foreground_quality,
    kmeans_labels,
    kmeans_predictions,
    knn_figures,
    matched_classes,
    mean_and_deviation,
    upper_bound,
)
from dcn.language import without_background
from flows.image_index import ImageIndex
from flows.image_measures import FOREGROUND_VARIANTS
from flows.region_table import read_regions
from flows.stage import Job, Warn
from storage import Manifest

_DEFAULT_CLUSTERS = 20


def classify(
    job: Job, manifest: Manifest, index: ImageIndex, rows: npt.NDArray[np.int64], warn: Warn
) -> tuple[dict[str, Any], npt.NDArray[np.int16]]:
    """Figures of every protocol, and the classes that are shown.

    Args:
        job: the shards of its ``evaluate`` are finished.
        manifest: of ``evaluate``.
        index: of the data set.
        rows: evaluated photographs that were segmented.
        warn: is told what changes a figure.

    Returns:
        The figures, and ``[N, k]``: the class of every region by the k-means seed of least inertia (or its
        cluster, without ground truth); -1 where a region does not occur or was not evaluated.

    """
    regions = read_regions(job, rows)
    labelled = len(np.unique(regions.image[regions.overlap.any(axis=1)]))
    results: dict[str, Any] = {"labelled_images": labelled}
    if not job.settings.regions_are_classes and not regions.embedded.all():
        missing = results["regions_without_embedding"] = int((~regions.embedded).sum())
        warn(
            f"{missing} regions have no embedding (their photograph could not be read, or it is not finite); "
            f"they count as background"
        )
    shown, results["kmeans"] = _clusters(job, index, regions, bool(labelled), warn)
    semantic = np.full((len(index), job.settings.num_regions), -1, dtype=np.int16)
    semantic[regions.image, regions.index] = shown
    if labelled:
        results["upper_bound"] = upper_bound(regions.overlap)
        results["foreground"] = foreground_quality(regions.overlap, regions.foreground)
        results["foreground_variants"] = _foreground_variants(job, manifest, regions)
        if not job.settings.regions_are_classes:
            results["knn"] = _neighbors(job, index, regions, warn)
        if job.settings.language.model is not None:
            results["language"] = _language(job, manifest, rows, regions)
    return results, semantic


def _clusters(
    job: Job, index: ImageIndex, regions: Regions, labelled: bool, warn: Warn
) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Classes ``[R]`` that are shown, and the figures of unsupervised classification (section 4.3)."""
    settings, num_classes = job.settings.evaluate, len(index.class_names)
    if job.settings.regions_are_classes:
        runs, inertia, found = [regions.index], [0.0], job.settings.num_regions
    else:
        wanted = settings.num_clusters or (num_classes - 1 if num_classes else _DEFAULT_CLUSTERS)
        fitted = kmeans_labels(regions, wanted, settings.num_seeds)
        found = len(fitted[0].centers)
        if found < wanted:
            warn(
                f"k-means has {found} clusters instead of {wanted}: there are only "
                f"{int((regions.foreground & regions.embedded).sum())} foreground regions"
            )
        runs = [kmeans_predictions(regions, clusters) for clusters in fitted]
        inertia = [clusters.inertia for clusters in fitted]
    chosen = int(np.argmin(inertia))
    results: dict[str, Any] = {"clusters": found, "seeds": len(runs), "shown_seed": chosen}
    if not labelled:
        return runs[chosen], results
    classified = [matched_classes(regions, predicted) for predicted in runs]
    for name in ("miou", "accuracy"):
        mean, deviation = mean_and_deviation([reached[name] for _, reached in classified])
        results |= {name: mean, f"{name}_deviation": deviation}
    classes, reached = classified[chosen]
    return classes, results | {name: reached[name] for name in ("class_iou", "confusion")}


def _neighbors(job: Job, index: ImageIndex, queries: Regions, warn: Warn) -> dict[str, Any]:
    split = index.summary["train_split"]
    bank = read_regions(job, index.split_rows(split))
    if not bank.overlap.any():
        warn(f"k-NN has no figures: no photograph of the split {split} has ground truth")
        return {}
    missing = int((~bank.embedded).sum())
    if missing and split != index.summary["evaluate_split"]:
        warn(f"{missing} regions of the split {split} have no embedding, so the bank of k-NN lacks them")
    return knn_figures(bank, queries, job.settings.evaluate.neighbors)


def _foreground_variants(job: Job, manifest: Manifest, regions: Regions) -> dict[str, Any]:
    """Foreground IoU and accuracy by every reduction of heads and score of regions."""
    variants = job.checkpoint("evaluate").array("foreground_variants").rows(0, manifest.rows)  # [N, v, k]
    return {
        f"{reduction} over heads, {score} over pixels": foreground_quality(
            regions.overlap, variants[regions.image, i, regions.index]
        )
        for i, (reduction, score) in enumerate(FOREGROUND_VARIANTS)
    }


def _language(job: Job, manifest: Manifest, rows: npt.NDArray[np.int64], regions: Regions) -> dict[str, Any]:
    """MaskCLIP alone, and with the regions (section 4.5, table 3)."""
    checkpoint = job.checkpoint("evaluate")
    pixels, inside = (
        checkpoint.array(name).rows(0, manifest.rows)[rows].sum(axis=0)
        for name in ("language_pixels", "language_foreground")
    )
    classes = checkpoint.array("language_class").rows(0, manifest.rows)[regions.image, regions.index]
    return {
        "pixels_where_no_background": figures(without_background(pixels)),
        "pixels_in_foreground": figures(inside),
        "regions": figures(confusion_matrix(regions.overlap, classes, regions.overlap.shape[1])),
    }
