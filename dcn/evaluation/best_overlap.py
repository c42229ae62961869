"""Overlap of true regions with the regions that overlap them best: average best overlap and covering.

Both follow from one table of pixels, and no class is needed. Average best overlap: Uijlings et al., Selective
Search for Object Recognition, IJCV 2013, section 5.1, here with masks. Covering: Arbelaez et al., Contour
Detection and Hierarchical Image Segmentation, TPAMI 2011, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def overlaps(table: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the IoU of each true region with each region.

    Args:
        table: ``[T, k]`` pixels that each true region (row) shares with each region (column). A pixel that is
            not labelled is in no true region, so it counts in no union.

    Returns:
        ``[T, k]`` in [0, 1]; 0 for a region without a pixel.

    """
    union = table.sum(axis=1)[:, None] + table.sum(axis=0) - table
    iou: npt.NDArray[np.float64] = np.divide(table, union, out=np.zeros(table.shape), where=union > 0)
    return iou


def best_overlaps(table: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute the IoU of each true region with the region that overlaps it best.

    Args:
        table: ``[T, k]``, as for :func:`overlaps`.

    Returns:
        ``[T]`` in [0, 1]; NaN for a true region without a pixel.

    """
    best: npt.NDArray[np.float64] = np.where(table.any(axis=1), overlaps(table).max(axis=1), np.nan)
    return best


def covering(tables: Sequence[npt.NDArray[np.int64]]) -> float:
    """Compute the segmentation covering of one image.

    It is the mean of :func:`best_overlaps` over the true regions of all tables, weighted by their areas.

    Args:
        tables: ``[T, k]`` of each annotator, at least one; not all of them without a pixel.

    Returns:
        Covering in [0, 1]; 1 if the regions are the true regions.

    """
    areas = np.concatenate([table.sum(axis=1) for table in tables])
    best = np.concatenate([best_overlaps(table) for table in tables])
    return float(areas @ np.nan_to_num(best) / areas.sum())


def class_best_overlaps(best: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average the best overlap of each class over the images that have the class.

    Args:
        best: ``[N, C]``, for each image :func:`best_overlaps` of its classes, NaN for absent classes.

    Returns:
        ``[C]``; NaN for a class that does not occur.

    """
    present = ~np.isnan(best)
    images = present.sum(axis=0)  # [C]
    sums = np.where(present, best, 0).sum(axis=0)
    means: npt.NDArray[np.float64] = np.divide(sums, images, out=np.full(len(sums), np.nan), where=images > 0)
    return means


def average_best_overlap(best: npt.NDArray[np.float64]) -> float:
    """Average the best overlap over the object classes that occur; class 0, the background, is none of them.

    A class counts once, however many images it has.

    Args:
        best: ``[N, C]``, as for :func:`class_best_overlaps`.

    Returns:
        Average best overlap (ABO) in [0, 1]; NaN if no object class occurs.

    """
    classes = class_best_overlaps(best[:, 1:])
    classes = classes[~np.isnan(classes)]
    return float(classes.mean()) if len(classes) else float("nan")
