"""Segmenters: methods that divide the tokens of an image into regions, the DCN and its rivals.

A segmenter is one module with one class. :data:`SEGMENTERS` is the only list of them.
"""

from dcn.segmenters.kmeans import KMeansSegmenter
from dcn.segmenters.labels import LabelsSegmenter
from dcn.segmenters.louvain import ModularitySegmenter
from dcn.segmenters.ncut import NCutSegmenter
from dcn.segmenters.network import DCNSegmenter
from dcn.segmenters.pixels import PixelsSegmenter
from dcn.segmenters.segmenter import Segmenter, Shared
from dcn.segmenters.spectral import SpectralSegmenter

# A comparison has its rows in this order.
SEGMENTERS: tuple[type[Segmenter], ...] = (
    DCNSegmenter,
    KMeansSegmenter,
    SpectralSegmenter,
    NCutSegmenter,
    PixelsSegmenter,
    ModularitySegmenter,
    LabelsSegmenter,
)

__all__ = [
    "SEGMENTERS",
    "DCNSegmenter",
    "KMeansSegmenter",
    "LabelsSegmenter",
    "ModularitySegmenter",
    "NCutSegmenter",
    "PixelsSegmenter",
    "Segmenter",
    "Shared",
    "SpectralSegmenter",
]
