"""Parts of the truth in place of what was found: true regions, true foreground, true classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dcn.evaluation.knn import majority_classes
from dcn.evaluation.overlap import confusion_matrix
from dcn.evaluation.protocols import Regions


def true_regions(
    images: npt.NDArray[np.int64], pixels: npt.NDArray[np.int64], embedding: npt.NDArray[np.floating]
) -> Regions:
    """Make the table of the true regions: all pixels of one class in a photograph are one region.

    Args:
        images: ``[b]`` row numbers of the photographs.
        pixels: ``[b, C]`` pixels of each class in each photograph; class 0 is the background.
        embedding: ``[b, C, d]`` embedding of the region of each class.

    Returns:
        One row for each class that occurs in a photograph. All classes but the background are foreground.

    Example:
        >>> regions = true_regions(np.array([7]), np.array([[5, 0, 3]]), np.ones((1, 3, 2)))
        >>> regions.index.tolist(), regions.overlap.tolist(), regions.foreground.tolist()
        ([0, 2], [[5, 0, 0], [0, 0, 3]], [False, True])

    """
    place, classes = np.nonzero(pixels)  # [R] each
    overlap = np.zeros((len(place), pixels.shape[1]), dtype=np.int64)  # [R, C]
    overlap[np.arange(len(place)), classes] = pixels[place, classes]
    return Regions(
        image=images[place],
        index=classes,
        overlap=overlap,
        foreground=classes > 0,
        embedding=embedding[place, classes].astype(np.float32),
    )


def with_true_foreground(regions: Regions) -> Regions:
    """Replace the foreground by the ground truth: regions of which most labelled pixels have another class.

    A region without labelled pixels is background.
    """
    return replace(regions, foreground=majority_classes(regions.overlap) > 0)


def foreground_upper_bound(
    overlap: npt.NDArray[np.int64], foreground: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Compute the confusion matrix ``[C, C]`` of perfect classification of the foreground regions.

    Args:
        overlap: ``[R, C]`` pixels of each region in each class.
        foreground: ``[R]`` whether the region is foreground. All others are background, class 0.

    """
    return confusion_matrix(overlap, np.where(foreground, overlap.argmax(axis=1), 0), overlap.shape[1])
