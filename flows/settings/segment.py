"""Settings of the segmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dcn.options import Options
from dcn.segmenters import DCNSegmenter
from dcn.weights.presets import AttentionReduction, ForegroundSplit, RegionScore
from flows.settings.choices import AnySegmenter


class SegmentSettings(Options):
    """Segmentation into regions, and choice of the foreground regions (sections 3.2 and 4.1.2)."""

    segmenter: AnySegmenter = Field(
        DCNSegmenter(), description="Method that divides the tokens of an image into regions."
    )
    attention_reduction: AttentionReduction | None = Field(
        None,
        description="Reduction of all attention heads to one value per pixel; empty: the preset's.",
    )
    region_score: RegionScore | None = Field(
        None,
        description="Reduction of the attention of a region's pixels to one score; empty: the preset's.",
    )
    foreground_split: ForegroundSplit | None = Field(
        None,
        description="Division of the scores into foreground and background: 2-means, as in the paper, or "
        "their average weighted by area; empty: the preset's.",
    )
    refine: bool = Field(
        True,
        description="Let the borders of regions follow the edges of the photograph, finer than patches.",
    )
    smallest_part: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="Share of the photograph. A connected part of a region that is smaller becomes part of "
        "the region beside it.",
    )

    @property
    def stores_labels(self) -> bool:
        """Whether the stage stores label maps, because the assignment alone does not determine them."""
        return self.refine or self.smallest_part > 0 or self.segmenter.reads_maps
