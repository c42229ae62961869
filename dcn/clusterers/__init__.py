"""Clusterers: methods that divide the regions of a data set into classes without labels.

A clusterer is one module with one class. :data:`CLUSTERERS` is the only list of them.
"""

from dcn.clusterers.agglomerative import AgglomerativeClusterer
from dcn.clusterers.balanced import BalancedClusterer
from dcn.clusterers.clusterer import Clusterer
from dcn.clusterers.kmeans import KMeansClusterer
from dcn.clusterers.spectral import SpectralClusterer

CLUSTERERS: tuple[type[Clusterer], ...] = (
    KMeansClusterer,
    SpectralClusterer,
    BalancedClusterer,
    AgglomerativeClusterer,
)

__all__ = [
    "CLUSTERERS",
    "AgglomerativeClusterer",
    "BalancedClusterer",
    "Clusterer",
    "KMeansClusterer",
    "SpectralClusterer",
]
