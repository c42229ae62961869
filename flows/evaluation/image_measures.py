"""What the evaluation measures on one photograph alone: every stage after it adds these up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcn.datasets import Dataset
from dcn.errors import InvalidMaskError
from dcn.evaluation.angles import image_angles, patch_classes
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.region_metrics import region_scores as segmentation_scores
from dcn.foreground import foreground_regions, reduce_heads, region_scores
from dcn.language.maskclip import classify_pixels, foreground_pixels, region_modes
from dcn.regions import label_map, region_areas
from dcn.weights.presets import AttentionReduction, RegionScore
from flows.inputs.datasets import read_mask, read_segmentations
from flows.inputs.image_index import IndexedImage
from storage import ArraySpec

Rows = dict[str, npt.NDArray[Any]]
# Every way to find the foreground by attention: the paper's text leaves more than one.
FOREGROUND_VARIANTS: tuple[tuple[AttentionReduction, RegionScore], ...] = (
    ("max", "sum"),
    ("max", "mean"),
    ("mean", "sum"),
    ("mean", "mean"),
    ("min", "sum"),
    ("min", "mean"),
)
# Of a patch that counts nowhere: it is not labelled, or not evaluated.
UNLABELLED = 255


def class_arrays(patches: int, regions: int, classes: int) -> tuple[ArraySpec, ...]:
    """Arrays of a data set with classes; zeros where there is nothing to count."""
    return (
        ArraySpec("overlap", (regions, classes), "int64", ("region", "class")),
        ArraySpec("foreground_variants", (len(FOREGROUND_VARIANTS), regions), "bool", ("variant", "region")),
        ArraySpec("patch_class", (patches,), "uint8", ("patch",)),
        ArraySpec("angles", (2,), "float32", ("intra_inter",)),
    )


def language_arrays(regions: int, classes: int) -> tuple[ArraySpec, ...]:
    """Arrays of a run with a language model."""
    matrix = ("predicted", "true")
    return (
        ArraySpec("language_pixels", (classes, classes), "int64", matrix),
        ArraySpec("language_foreground", (classes, classes), "int64", matrix),
        ArraySpec("language_class", (regions,), "int64", ("region",)),
    )


def segmentation_arrays() -> tuple[ArraySpec, ...]:
    """Arrays of a data set whose ground truth are regions without classes."""
    return (ArraySpec("segmentation", (3,), "float32", ("covering_rand_variation",)),)


@dataclass(frozen=True)
class ShardData:
    """What the stages before say of the photographs of one shard.

    Attributes:
        start: row of the first photograph.
        assignment: ``[s, n, k]``.
        foreground: ``[s, k]``.
        attention: ``[s, h, n]``; this and the following are empty where no photograph is evaluated.
        tokens: ``[s, n, d]``.
        logits: ``[s, m, C - 1]`` of the language model; None without one.
        num_classes: ``C``; 0 without ground truth.
        evaluate_split: its photographs are measured; of the others the overlap alone.

    """

    start: int
    assignment: npt.NDArray[np.float16]
    foreground: npt.NDArray[np.bool_]
    attention: npt.NDArray[np.float16]
    tokens: npt.NDArray[np.float16]
    logits: npt.NDArray[np.float16] | None
    num_classes: int
    evaluate_split: str


def measure(data: ShardData, dataset: Dataset, image: IndexedImage) -> tuple[int, Rows, str]:
    """Row of the photograph in its shard, its row of every array, and what is wrong with its ground truth."""
    row = image.row - data.start
    evaluated = data.evaluate_split in image.item.splits
    labels = label_map(data.assignment[row], image.height, image.width)
    rows: Rows = {}
    try:
        if evaluated and image.labelled and dataset.has_segmentations:
            scores = segmentation_scores(labels, read_segmentations(dataset, image))
            rows["segmentation"] = np.array(
                [scores.covering, scores.rand_index, scores.variation_of_information]
            )
        mask = read_mask(dataset, image)
    except InvalidMaskError as error:
        return row, rows, str(error)
    if mask is None:
        return row, rows, ""
    num_regions = data.foreground.shape[1]
    rows["overlap"] = region_overlap(labels, mask, num_regions, data.num_classes)
    if evaluated:
        rows["foreground_variants"] = _foreground_variants(data.attention[row], labels, num_regions)
        rows["patch_class"] = patch_classes(mask, round(data.tokens.shape[1] ** 0.5))
        rows["angles"] = np.array(image_angles(data.tokens[row], rows["patch_class"], data.num_classes))
        if data.logits is not None:
            rows |= _language(data.logits[row], data.foreground[row], labels, mask, data.num_classes)
    return row, rows, ""


def _foreground_variants(
    attention: npt.NDArray[np.float16], labels: npt.NDArray[np.uint8], num_regions: int
) -> npt.NDArray[np.bool_]:
    areas = region_areas(labels, num_regions)
    heads = torch.from_numpy(attention).float()
    found = []
    for reduction, score in FOREGROUND_VARIANTS:
        scores = region_scores(reduce_heads(heads, reduction), labels, num_regions, score)
        found.append(foreground_regions(scores, areas))
    return np.stack(found)


def _language(
    logits: npt.NDArray[np.float16],
    foreground: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8],
    num_classes: int,
) -> Rows:
    pixels = np.zeros(labels.shape, dtype=np.uint8)  # of a photograph that could not be read
    if logits.any():
        pixels = classify_pixels(torch.from_numpy(logits).float(), *labels.shape)
    inside = foreground_pixels(labels, pixels, foreground)
    return {
        "language_pixels": region_overlap(pixels, mask, num_classes, num_classes),
        "language_foreground": region_overlap(inside, mask, num_classes, num_classes),
        "language_class": region_modes(labels, pixels, foreground),
    }
