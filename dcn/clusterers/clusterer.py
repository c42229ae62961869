"""The interface of a clusterer: its options, its traits, and how it divides unit vectors into clusters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dcn.clustering import Clusters, clusters_of_labels
from dcn.options import Options

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class Clusterer(Options, ABC):
    """Base class of all clusterers. Its fields are the options of the clusterer.

    A new clusterer is one module with a subclass, and one line in :data:`dcn.clusterers.CLUSTERERS`. Import
    heavy libraries inside the methods: the settings import this module, and reading settings should be quick.

    Attributes:
        title: name of the method in tables and on pages.
        seeded: another seed gives other clusters. Without this trait a single run is enough.
        by_center: every vector is in the cluster with the nearest center, so a new vector is clustered as
            those that the clusters were made of. Without this trait, a vector that was clustered keeps its
            cluster, and only new ones take the nearest center.
        most_vectors: most vectors that the method clusters, because of its time or memory; None clusters all.
        name: name of the clusterer in configurations. Give it the type ``Literal["..."]``.

    """

    title: ClassVar[str]
    seeded: ClassVar[bool] = True
    by_center: ClassVar[bool] = False
    most_vectors: ClassVar[int | None] = None

    name: str

    def points(self, unit: Floats) -> npt.NDArray[np.floating]:
        """Map unit vectors ``[m, d]`` to the points ``[m, p]`` that are clustered, once for all seeds."""
        return unit

    @abstractmethod
    def labels(self, points: npt.NDArray[np.floating], num_clusters: int, seed: int) -> Labels:
        """Divide points into clusters.

        Args:
            points: ``[m, p]``, result of :meth:`points`.
            num_clusters: number of clusters, at most the number of distinct vectors.
            seed: random seed.

        Returns:
            ``[m]`` label of each point. Labels may be missing, if a cluster is empty.

        """

    def cluster(
        self, unit: Floats, points: npt.NDArray[np.floating], num_clusters: int, seed: int
    ) -> Clusters:
        """Cluster unit vectors ``[m, d]`` by their points; see :meth:`labels`."""
        return clusters_of_labels(unit, self.labels(points, num_clusters, seed))
