"""Classes of regions by every protocol of section 4, and their figures.

All figures are of confusion matrices, and those of a data set are the sum of those of its photographs. So
the regions are gone through block by block; ``evaluate.sampled_images`` bounds what k-means learns from and
what the bank of k-NN holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.clustering import Clusters
from dcn.evaluation.knn import RegionBank
from dcn.evaluation.overlap import confusion_matrix
from dcn.evaluation.protocols import (
    Regions,
    figures,
    foreground_confusion,
    foreground_quality,
    join_regions,
    kmeans_labels,
    kmeans_predictions,
    knn_confusions,
    matched_classes,
    mean_and_deviation,
    region_bank,
    upper_bound,
)
from dcn.language.maskclip import without_background
from flows.evaluation.image_measures import FOREGROUND_VARIANTS
from flows.inputs.image_index import ImageIndex, evenly_spread
from flows.inputs.region_table import region_blocks
from flows.stage import Job, Warn

_DEFAULT_CLUSTERS = 20
Matrix = npt.NDArray[np.int64]
# Confusion matrices by protocol and variant of it: the seed of k-means, the k of k-NN.
Totals = dict[tuple[str, int], Matrix]


def classify(
    job: Job, index: ImageIndex, rows: npt.NDArray[np.int64], warn: Warn
) -> tuple[dict[str, Any], npt.NDArray[np.int16]]:
    """Figures of every protocol, and the classes that are shown.

    Args:
        job: the shards of its ``evaluate`` are finished.
        index: of the data set.
        rows: evaluated photographs that were segmented.
        warn: is told what changes a figure.

    Returns:
        The figures, and ``[N, k]``: the class of every region by the k-means seed of least inertia (or its
        cluster, without ground truth); -1 where a region does not occur or was not evaluated.

    """
    classes = len(index.class_names)
    wanted = job.settings.evaluate.num_clusters or (classes - 1 if classes else _DEFAULT_CLUSTERS)
    fitted = [] if job.settings.regions_are_classes else _fit(job, rows, wanted)
    shown = int(np.argmin([clusters.inertia for clusters in fitted])) if fitted else 0
    bank, unembedded = _bank(job, index)
    semantic = np.full((len(index), job.settings.num_regions), -1, dtype=np.int16)
    totals: Totals = {}
    labelled = missing = 0
    for regions in region_blocks(job, rows):
        labelled += len(np.unique(regions.image[regions.overlap.any(axis=1)]))
        missing += int((~regions.embedded).sum())
        runs = [kmeans_predictions(regions, clusters) for clusters in fitted] or [regions.index]
        semantic[regions.image, regions.index] = runs[shown]
        for name, matrix in _confusions(job, regions, runs, bank):
            totals[name] = _added(totals[name], matrix) if name in totals else matrix

    results: dict[str, Any] = {"labelled_images": labelled}
    if fitted and missing:
        results["regions_without_embedding"] = missing
        warn(
            f"{missing} regions have no embedding (their photograph could not be read, or it is not finite); "
            f"they count as background"
        )
    found = len(fitted[0].centers) if fitted else job.settings.num_regions
    if fitted and found < wanted:
        warn(
            f"k-means has {found} clusters instead of {wanted}: there are only {len(fitted[0].labels)} "
            f"foreground regions"
        )
    results["kmeans"] = {"clusters": found, "seeds": max(1, len(fitted)), "shown_seed": shown}
    if labelled:
        class_of_cluster, reached = _matched(totals, shown)
        results["kmeans"] |= reached
        _rename(semantic, class_of_cluster)
        results |= _figures(totals)
        if fitted:
            results["knn"] = _neighbors(index, totals, unembedded, warn)
    return results, semantic


def _fit(job: Job, rows: npt.NDArray[np.int64], wanted: int) -> list[Clusters]:
    """Clusters of each seed, of the foreground regions of some photographs."""
    settings = job.settings.evaluate
    sampled = region_blocks(job, evenly_spread(rows, settings.sampled_images))
    foreground = join_regions([regions.take(regions.foreground) for regions in sampled])
    return kmeans_labels(foreground, wanted, settings.num_seeds)


def _bank(job: Job, index: ImageIndex) -> tuple[RegionBank | None, int]:
    """Labelled regions of the training split, None where there are none; and how many have no embedding."""
    if job.settings.regions_are_classes or not index.class_names:
        return None, 0
    rows = evenly_spread(index.split_rows(index.summary["train_split"]), job.settings.evaluate.sampled_images)
    labelled, missing = False, 0

    def blocks() -> Iterator[Regions]:
        nonlocal labelled, missing
        for regions in region_blocks(job, rows):
            labelled |= bool(regions.overlap.any())
            missing += int((~regions.embedded).sum())
            yield regions

    bank = region_bank(blocks())
    return bank if labelled else None, missing


def _confusions(
    job: Job, regions: Regions, runs: list[npt.NDArray[np.int64]], bank: RegionBank | None
) -> Iterator[tuple[tuple[str, int], Matrix]]:
    """Confusion matrices of some photographs, of all protocols.

    Args:
        job: of the run.
        regions: all of these photographs.
        runs: their clusters ``[R]`` by every seed of k-means.
        bank: of k-NN.

    """
    for seed, predicted in enumerate(runs):
        yield ("kmeans", seed), confusion_matrix(regions.overlap, predicted, int(predicted.max()) + 1)
    if not regions.overlap.any():
        return
    yield ("upper_bound", 0), upper_bound(regions.overlap)
    yield ("foreground", 0), foreground_confusion(regions.overlap, regions.foreground)
    rows, place = np.unique(regions.image, return_inverse=True)
    evaluate = job.checkpoint("evaluate")
    variants = evaluate.array("foreground_variants").read_ahead(rows).result()  # [b, v, k]
    for variant in range(len(FOREGROUND_VARIANTS)):
        foreground = variants[place, variant, regions.index]
        yield ("foreground_variants", variant), foreground_confusion(regions.overlap, foreground)
    if bank is not None:
        neighbors = knn_confusions(bank, regions, job.settings.evaluate.neighbors)
        yield from ((("knn", k), matrix) for k, matrix in neighbors.items())
    if job.settings.language.model is not None:
        for name in ("language_pixels", "language_foreground"):
            yield (name, 0), evaluate.array(name).read_ahead(rows).result().sum(axis=0)
        classes = evaluate.array("language_class").read_ahead(rows).result()[place, regions.index]
        yield ("language_class", 0), confusion_matrix(regions.overlap, classes, regions.overlap.shape[1])


def _added(total: Matrix, matrix: Matrix) -> Matrix:
    """Sum of two confusion matrices; the later rows of one may not have occurred in the other."""
    fewer, more = sorted((total, matrix), key=len)
    more = more.copy()
    more[: len(fewer)] += fewer
    return more


def _matched(totals: Totals, shown: int) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """Class of every cluster of the shown seed, and the figures of unsupervised classification (4.3)."""
    classified = [matched_classes(matrix) for (protocol, _), matrix in totals.items() if protocol == "kmeans"]
    results: dict[str, Any] = {}
    for name in ("miou", "accuracy"):
        mean, deviation = mean_and_deviation([reached[name] for _, reached in classified])
        results |= {name: mean, f"{name}_deviation": deviation}
    classes, reached = classified[shown]
    return classes, results | {name: reached[name] for name in ("class_iou", "confusion")}


def _rename(semantic: npt.NDArray[np.int16], classes: npt.NDArray[np.int64]) -> None:
    """Put classes ``[K]`` in the place of clusters, in place; -1 stays."""
    table = np.append(classes, -1).astype(np.int16)
    for start in range(0, len(semantic), 1 << 16):
        semantic[start : start + (1 << 16)] = table[semantic[start : start + (1 << 16)]]


def _figures(totals: Totals) -> dict[str, Any]:
    """Figures of the protocols that need no clusters."""
    results: dict[str, Any] = {
        "upper_bound": figures(totals["upper_bound", 0]),
        "foreground": foreground_quality(totals["foreground", 0]),
        "foreground_variants": {
            f"{reduction} over heads, {score} over pixels": foreground_quality(
                totals["foreground_variants", variant]
            )
            for variant, (reduction, score) in enumerate(FOREGROUND_VARIANTS)
        },
    }
    if ("language_class", 0) in totals:  # MaskCLIP alone, and with the regions (section 4.5, table 3)
        results["language"] = {
            "pixels_where_no_background": figures(without_background(totals["language_pixels", 0])),
            "pixels_in_foreground": figures(totals["language_foreground", 0]),
            "regions": figures(totals["language_class", 0]),
        }
    return results


def _neighbors(index: ImageIndex, totals: Totals, unembedded: int, warn: Warn) -> dict[str, dict[str, Any]]:
    """Figures of retrieval (section 4.4, table 2) for each k."""
    split = index.summary["train_split"]
    found = {str(k): figures(matrix) for (protocol, k), matrix in totals.items() if protocol == "knn"}
    if not found:
        warn(f"k-NN has no figures: no photograph of the split {split} has ground truth")
    elif unembedded and split != index.summary["evaluate_split"]:
        warn(f"{unembedded} regions of the split {split} have no embedding, so the bank of k-NN lacks them")
    return found
