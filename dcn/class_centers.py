"""Classes of the regions of new photographs: those of the nearest centers of k-means (section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import normalize

from dcn.images.palette import class_palette
from dcn.model_description import ClassDescription


@dataclass(frozen=True)
class ClassCenters:
    """The centers of the clusters of a data set, and their classes.

    Attributes:
        centers: ``[K, d]`` means of unit vectors.
        description: classes of the ``K`` clusters, and their names.

    Example:
        >>> from dcn.class_names import NamedClasses
        >>> named = NamedClasses(names=("background", "cat", "tree"), class_of_cluster=(0, 1, 2))
        >>> description = ClassDescription(matched=(0, 1, 2), named=named)
        >>> centers = ClassCenters(np.eye(2, dtype=np.float32), description)
        >>> classes, confidence = centers.classify(np.array([[3, 0], [1, 1]], dtype=np.float32))
        >>> classes.tolist(), confidence.tolist()
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
        return int(self.description.class_of_cluster[0])

    def classify(
        self, embedding: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Classify foreground regions.

        Args:
            embedding: ``[m, d]`` embeddings of the regions. One that is zero or not finite gives background.

        Returns:
            ``[m]`` classes, and ``[m]`` how sure each of them is: 1 minus the ratio of the distances to the
            nearest center and to the nearest center of another class. So 1 is at a center, and 0 is as near
            to another class. Without another class it is 1; a region without embedding has 0.

        """
        squared = np.einsum("md,md->m", embedding, embedding)
        known = np.flatnonzero(np.isfinite(squared) & (squared > 0))
        classes = np.full(len(embedding), self.background, dtype=np.uint8)
        confidence = np.zeros(len(embedding), dtype=np.float32)
        if not len(known) or not len(self.centers):
            return classes, confidence
        of_center = self.description.class_of_cluster[1:]  # [K]
        distance = self._distances(embedding[known])  # [m, K]
        classes[known] = of_center[distance.argmin(axis=1)]
        other = np.where(of_center == classes[known][:, None], np.inf, distance).min(axis=1)  # [m]
        # Two centers at one place and an embedding there: 0 / 0 is a draw.
        ratio = np.divide(distance.min(axis=1), other, out=np.ones_like(other), where=other > 0)
        confidence[known] = 1 - ratio
        return classes, confidence

    def _distances(self, embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Compute the distances ``[m, K]`` of the directions of embeddings ``[m, d]`` to the centers."""
        unit = normalize(embedding)
        squared = (self.centers**2).sum(axis=1) - 2 * unit @ self.centers.T + 1
        distances: npt.NDArray[np.float32] = np.sqrt(np.maximum(squared, 0))
        return distances

    def palette(self) -> npt.NDArray[np.uint8]:
        """Choose a color for each class: ``[256, 3]`` uint8, with zeros after the last class."""
        colors = self.description.named.colors(class_palette())
        return np.pad(colors, ((0, 256 - len(colors)), (0, 0)))
