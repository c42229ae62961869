"""Intra-class and inter-class angles of tokens, within an image and over a data set (section 1).

The paper clusters image by image for this reason: within an image the tokens of a class are closer to each
other, and much farther from the other classes, than over the whole data set.

A data set needs two passes over its tokens, block by block: :func:`class_sums` sums up to the centers,
:func:`class_angles` to the angles from the centers. Addition merges the results of two blocks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.float16] | npt.NDArray[np.float32]


def patch_classes(mask: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Compute the class of each patch of the squashed photograph: the most frequent label of its pixels.

    The ignore label counts like any other. Among equally frequent labels the lowest wins, so the ignore label
    loses.

    Args:
        mask: ``[H, W]`` ground truth at the size of the photograph. A pixel belongs to the patch that
            contains its center.
        side: number of patches along one side.

    Returns:
        ``[side * side]`` classes in row-major order.

    """
    # A mask with fewer rows or columns than patches is enlarged first, so that every patch has pixels.
    height, width = (max(size, side) for size in mask.shape)
    rows = _nearest(height, mask.shape[0])
    columns = _nearest(width, mask.shape[1])
    patch = _nearest(height, side)[:, None] * side + _nearest(width, side)  # [height, width]
    votes = np.bincount((patch * 256 + mask[np.ix_(rows, columns)]).ravel(), minlength=side * side * 256)
    classes: npt.NDArray[np.uint8] = votes.reshape(side * side, 256).argmax(axis=1).astype(np.uint8)
    return classes


def class_sums(
    tokens: Tokens, classes: npt.NDArray[np.uint8], num_classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Sum the unit tokens of each class, and count them: the first pass over a data set.

    Args:
        tokens: ``[..., d]``. A token that is zero has no direction and adds zero.
        classes: ``[...]`` class of each token. A label of ``C`` or more (the ignore label) counts nowhere.
        num_classes: ``C``.

    Returns:
        Sums ``[C, d]``, and numbers of tokens ``[C]``.

    """
    unit, labels = _labelled(tokens, classes, num_classes)
    sums = np.zeros((num_classes, tokens.shape[-1]))
    for label in np.unique(labels):
        sums[label] = unit[labels == label].sum(axis=0, dtype=np.float64)
    return sums, np.bincount(labels, minlength=num_classes)


def class_centers(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Normalize the sums ``[C, d]`` of :func:`class_sums` to centers; zero where a class does not occur."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    centers: npt.NDArray[np.float64] = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return centers


def class_angles(
    tokens: Tokens, classes: npt.NDArray[np.uint8], centers: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Sum the angles between the tokens of each class and its center, and count them: the second pass.

    The intra-class angle is the sum of all angles, divided by the number of all tokens.

    Args:
        tokens: ``[..., d]``.
        classes: ``[...]`` class of each token. A label of ``C`` or more counts nowhere.
        centers: ``[C, d]`` from :func:`class_centers`.

    Returns:
        Sums ``[C]`` in degrees, and numbers of tokens ``[C]``. A zero vector is at 90 degrees to everything.

    """
    unit, labels = _labelled(tokens, classes, len(centers))
    totals = np.zeros(len(centers))
    for label in np.unique(labels):
        totals[label] = _degrees(unit[labels == label] @ centers[label]).sum()
    return totals, np.bincount(labels, minlength=len(centers))


def inter_class_angle(centers: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    """Average the angle from each center to the nearest other center over the classes that occur.

    Args:
        centers: ``[C, d]`` from :func:`class_centers`.
        counts: ``[C]`` number of tokens of each class.

    Returns:
        Degrees; NaN if fewer than two classes occur.

    """
    occurring = centers[counts > 0]
    if len(occurring) < 2:
        return float("nan")
    angles = _degrees(occurring @ occurring.T)
    np.fill_diagonal(angles, np.inf)
    return float(angles.min(axis=1).mean())


def image_angles(tokens: Tokens, classes: npt.NDArray[np.uint8], num_classes: int) -> tuple[float, float]:
    """Compute the intra-class and the inter-class angle in degrees within one image.

    Args:
        tokens: ``[n, d]``.
        classes: ``[n]`` from :func:`patch_classes`. A label of ``C`` or more counts nowhere.
        num_classes: ``C``.

    Returns:
        Intra-class angle, NaN if no token is labelled; inter-class angle, NaN if fewer than two classes
        occur.

    """
    sums, counts = class_sums(tokens, classes, num_classes)
    centers = class_centers(sums)
    totals, _ = class_angles(tokens, classes, centers)
    intra = float(totals.sum() / counts.sum()) if counts.any() else float("nan")
    return intra, inter_class_angle(centers, counts)


def _labelled(
    tokens: Tokens, classes: npt.NDArray[np.uint8], num_classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Select the tokens that have a class: unit tokens ``[m, d]``, and their classes ``[m]``."""
    counted = classes < num_classes
    vectors = tokens[counted].astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0), classes[counted]


def _degrees(cosines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    angles: npt.NDArray[np.float64] = np.degrees(np.arccos(cosines.clip(-1, 1)))
    return angles


def _nearest(fine: int, coarse: int) -> npt.NDArray[np.int64]:
    """For each of ``fine`` equal parts, find the one of ``coarse`` equal parts that contains its center."""
    return (2 * np.arange(fine) + 1) * coarse // (2 * fine)
