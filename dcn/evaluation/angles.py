"""Intra-class and inter-class angle of tokens, within an image and over a data set (section 1).

The paper's argument for clustering image by image: within an image the tokens of a class are closer to each
other, and much farther from the other classes, than over the whole data set.

Over a data set the tokens are gone through twice, block by block: :func:`class_sums` adds up to the centers,
:func:`class_angles` to the angles from them. Both results of two blocks are merged by addition.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.float16] | npt.NDArray[np.float32]


def patch_classes(mask: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Class of each patch of the squashed photograph: the label of most of its pixels.

    The ignore label counts as any other. Of equal labels the lowest wins, so the ignore label loses.

    Args:
        mask: ``[H, W]`` ground truth of the photograph as it is; a pixel belongs to the patch that its
            center falls into.
        side: patches along one side.

    Returns:
        ``[side * side]``, in row-major order.

    """
    # A mask with fewer rows or columns than patches is enlarged first, so that no patch is without pixels.
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
    """First pass: sum of the unit tokens of each class, and their number.

    Args:
        tokens: ``[..., d]``; an all-zero one stays zero.
        classes: ``[...]``; labels that are no class (the ignore label) count nowhere.
        num_classes: ``C``.

    Returns:
        ``[C, d]`` and ``[C]``.

    """
    unit, labels = _labelled(tokens, classes, num_classes)
    sums = np.zeros((num_classes, tokens.shape[-1]))
    for label in np.unique(labels):
        sums[label] = unit[labels == label].sum(axis=0, dtype=np.float64)
    return sums, np.bincount(labels, minlength=num_classes)


def class_centers(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Directions of the mean unit tokens ``[C, d]``, from their sums; zero where a class does not occur."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    centers: npt.NDArray[np.float64] = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return centers


def class_angles(
    tokens: Tokens, classes: npt.NDArray[np.uint8], centers: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Second pass: sum of the angles between the tokens of each class and its center, and their number.

    The intra-class angle is the quotient of the two totals over classes and blocks.

    Args:
        tokens: ``[..., d]``.
        classes: ``[...]``; labels that are no class count nowhere.
        centers: ``[C, d]`` of :func:`class_centers`.

    Returns:
        ``[C]`` in degrees, and ``[C]``. What is zero has no direction, and 90 degrees to everything.

    """
    unit, labels = _labelled(tokens, classes, len(centers))
    totals = np.zeros(len(centers))
    for label in np.unique(labels):
        totals[label] = _degrees(unit[labels == label] @ centers[label]).sum()
    return totals, np.bincount(labels, minlength=len(centers))


def inter_class_angle(centers: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float:
    """Angle from each center to the nearest other one in degrees, averaged over the classes that occur.

    Args:
        centers: ``[C, d]`` of :func:`class_centers`.
        counts: ``[C]`` tokens of each class.

    Returns:
        NaN where fewer than two classes occur.

    """
    occurring = centers[counts > 0]
    if len(occurring) < 2:
        return float("nan")
    angles = _degrees(occurring @ occurring.T)
    np.fill_diagonal(angles, np.inf)
    return float(angles.min(axis=1).mean())


def image_angles(tokens: Tokens, classes: npt.NDArray[np.uint8], num_classes: int) -> tuple[float, float]:
    """Intra-class and inter-class angle in degrees within one image.

    Args:
        tokens: ``[n, d]``.
        classes: ``[n]`` of :func:`patch_classes`; labels that are no class count nowhere.
        num_classes: ``C``.

    Returns:
        Intra-class angle, NaN without labelled tokens; inter-class angle, NaN with fewer than two classes.

    """
    sums, counts = class_sums(tokens, classes, num_classes)
    centers = class_centers(sums)
    totals, _ = class_angles(tokens, classes, centers)
    intra = float(totals.sum() / counts.sum()) if counts.any() else float("nan")
    return intra, inter_class_angle(centers, counts)


def _labelled(
    tokens: Tokens, classes: npt.NDArray[np.uint8], num_classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Unit tokens ``[m, d]`` of those that have a class, and their classes ``[m]``."""
    counted = classes < num_classes
    vectors = tokens[counted].astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0), classes[counted]


def _degrees(cosines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    angles: npt.NDArray[np.float64] = np.degrees(np.arccos(cosines.clip(-1, 1)))
    return angles


def _nearest(fine: int, coarse: int) -> npt.NDArray[np.int64]:
    """Which of ``coarse`` equal parts the center of each of ``fine`` equal parts falls into, ``[fine]``."""
    return (2 * np.arange(fine) + 1) * coarse // (2 * fine)
