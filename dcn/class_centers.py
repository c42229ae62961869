"""Classes of the regions of new photographs: those of the nearest centers of clusters (section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dcn.clustering import center_distances, has_direction
from dcn.model_description import ClassDescription


class Classified(NamedTuple):
    """Classes of ``m`` regions.

    Attributes:
        classes: ``[m]`` number of each class.
        distance: ``[m]`` distance of the direction of the embedding to the nearest center, 0 to 2; NaN
            without embedding.
        confidence: ``[m]`` how sure each class is: 1 minus the ratio of the distances to the nearest center
            and to the nearest center of another class. So 1 is at a center, and 0 is as near to another
            class. Without another class it is 1; without embedding it is 0.

    """

    classes: npt.NDArray[np.uint8]
    distance: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClassCenters:
    """The centers of the clusters of a data set, and their classes.

    Attributes:
        centers: ``[c, d]`` means of unit vectors. A merged cluster has several.
        description: classes of the ``c`` centers, and their names.

    Example:
        >>> from dcn.class_names import NamedClasses
        >>> named = NamedClasses(names=("background", "cat", "tree"), class_of_cluster=(0, 1, 2))
        >>> description = ClassDescription(matched=(0, 1, 2), named=named)
        >>> centers = ClassCenters(np.eye(2, dtype=np.float32), description)
        >>> found = centers.classify(np.array([[3, 0], [1, 1]], dtype=np.float32))
        >>> found.classes.tolist(), found.confidence.tolist()
        ([1, 1], [1.0, 0.0])

    """

    centers: npt.NDArray[np.float32]
    description: ClassDescription

    @property
    def names(self) -> tuple[str, ...]:
        """``[C]`` name of each class; the first is the background."""
        return self.description.named.names

    @property
    def background(self) -> int:
        """Class of the regions that are not foreground."""
        return int(self.description.class_of_center[0])

    def classify(self, embedding: npt.NDArray[np.float32]) -> Classified:
        """Classify foreground regions by their embeddings ``[m, d]``.

        An embedding that is zero or not finite gives the class of the background.
        """
        known = np.flatnonzero(has_direction(embedding))
        classes = np.full(len(embedding), self.background, dtype=np.uint8)
        nearest = np.full(len(embedding), np.nan, dtype=np.float32)
        confidence = np.zeros(len(embedding), dtype=np.float32)
        if len(known) and len(self.centers):
            of_center = self.description.class_of_center[1:]  # [c]
            distance = center_distances(embedding[known], self.centers)  # [m, c]
            classes[known] = of_center[distance.argmin(axis=1)]
            nearest[known] = distance.min(axis=1)
            other = np.where(of_center == classes[known][:, None], np.inf, distance).min(axis=1)  # [m]
            # An embedding at the common place of two centers: 0 / 0 is a draw.
            ratio = np.divide(distance.min(axis=1), other, out=np.ones_like(other), where=other > 0)
            confidence[known] = 1 - ratio
        return Classified(classes, nearest, confidence)

    def palette(self) -> npt.NDArray[np.uint8]:
        """Choose a color for each class, ``[256, 3]`` uint8. Joined classes have the color of the first."""
        palette = self.description.colors()
        palette[: len(self.names)] = self.description.named.colors(palette)
        return palette
