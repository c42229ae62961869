"""Measures of the regions of an image against its true regions: its classes, background included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcn.evaluation.best_overlap import best_overlaps, covering
from dcn.evaluation.boundaries import UNLABELLED, boundary_agreement, fill_unlabelled
from dcn.evaluation.overlap import region_overlap
from dcn.evaluation.rims import rims
from dcn.regions import region_areas


@dataclass(frozen=True)
class RegionMeasures:
    """Measures of one image.

    Attributes:
        best_overlap: ``[C]`` IoU of each class with its best region; NaN for an absent class.
        covering: mean of ``best_overlap`` over the classes, weighted by their areas.
        boundary_precision: share of the regions' boundary near the true boundary
            (:mod:`dcn.evaluation.boundaries`).
        boundary_recall: share of the true boundary near the regions' boundary.
        boundary_f: harmonic mean of both.
        rims: share of the labelled pixels that are in rims (:func:`dcn.evaluation.rims.rims`).
        regions: number of regions.
        true_regions: number of classes.

    """

    best_overlap: npt.NDArray[np.float64]
    covering: float
    boundary_precision: float
    boundary_recall: float
    boundary_f: float
    rims: float
    regions: int
    true_regions: int


def measure_regions(
    labels: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8],
    num_regions: int,
    num_classes: int,
    side: int,
) -> RegionMeasures | None:
    """Measure the regions of one image.

    Pixels without a label count in no area. For the boundary they get the label of a nearest labelled pixel.

    Args:
        labels: ``[H, W]`` label map of the regions, 0 to ``num_regions`` - 1.
        mask: ``[H, W]`` ground truth. A label of ``num_classes`` or more (the ignore label) is no label.
        num_regions: ``k``.
        num_classes: ``C``.
        side: number of patches along one side of the squashed image.

    Returns:
        The measures; None if no pixel is labelled.

    """
    table = region_overlap(labels, mask, num_regions, num_classes).T  # [C, k]
    if not table.any():
        return None
    truth = np.where(mask < num_classes, mask.astype(np.int32), UNLABELLED)
    boundary = boundary_agreement(labels, fill_unlabelled(truth))
    return RegionMeasures(
        best_overlap=best_overlaps(table),
        covering=covering([table]),
        boundary_precision=boundary.precision,
        boundary_recall=boundary.recall,
        boundary_f=boundary.f,
        rims=float(table[:, rims(labels, truth, table, side)].sum() / table.sum()),
        regions=int(np.count_nonzero(region_areas(labels, num_regions))),
        true_regions=int(np.count_nonzero(table.any(axis=1))),
    )
