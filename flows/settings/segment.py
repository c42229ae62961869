"""Settings of the stage that finds regions, and of every segmenter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dcn.options import Options, RegionCount
from dcn.segmenters.segmenter import Segmenter
from dcn.weights.presets import AttentionReduction, RegionScore


class DCNSegmenter(Segmenter):
    """The network of this project; ``train`` says how many regions an image may have."""

    trained = True
    cosines = True
    name: Literal["dcn"] = "dcn"


class KMeansSegmenter(Segmenter):
    """k-means on the tokens of each image: a fixed number of clusters."""

    name: Literal["kmeans"]
    num_regions: RegionCount = 5


class SpectralSegmenter(Segmenter):
    """Deep Spectral Methods: clusters of the eigenvectors of the normalized Laplacian."""

    name: Literal["spectral"]
    num_regions: RegionCount = 5
    color_weight: Annotated[float, Field(ge=0)] = Field(0.0, description="of the affinity of colors")
    border_background: bool = Field(
        False, description="background is the region with most border pixels, instead of attention"
    )

    @property
    def needs_colors(self) -> bool:
        return self.color_weight > 0


class NCutSegmenter(Segmenter):
    """Normalized cut, repeated on what is left: TokenCut, MaskCut."""

    name: Literal["ncut"]
    num_regions: RegionCount = 5


class ModularitySegmenter(Segmenter):
    """A community detector on the affinity graph of the modularity loss, without learning."""

    name: Literal["modularity"]
    num_regions: RegionCount = 5


class PixelsSegmenter(Segmenter):
    """Tokens of all training photographs clustered at once, no regions: the intuitive way of section 1."""

    regions_are_classes = True
    name: Literal["pixels"]
    num_clusters: RegionCount = Field(21, description="of the whole data set, background among them")


SegmenterSettings = Annotated[
    DCNSegmenter
    | KMeansSegmenter
    | SpectralSegmenter
    | NCutSegmenter
    | ModularitySegmenter
    | PixelsSegmenter,
    Field(discriminator="name"),
]


class SegmentSettings(Options):
    """What finds the regions, and which of them are foreground (sections 3.2 and 4.1.2)."""

    segmenter: SegmenterSettings = Field(DCNSegmenter(), description="what finds the regions")
    attention_reduction: AttentionReduction | None = Field(None, description="attention heads to one value")
    region_score: RegionScore | None = Field(None, description="pixels of a region to one value")
