"""What the embedding of a region is made of: crops of its photograph, or the tokens of its photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["crop", "crop-unmasked", "crop-context", "tokens"]


@dataclass(frozen=True)
class CropView:
    """How a region is cut out of its photograph.

    Attributes:
        masked: whether pixels outside of the region are set to zero.
        margin: width of the rim around the bounding box, as a share of the box's height and width. The rim
            ends at the border of the photograph.

    """

    masked: bool = False
    margin: float = 0.0


# The sources that are crops; ``tokens`` is none. The first is that of the paper (section 4.1.2).
CROP_VIEWS: dict[Source, CropView] = {
    "crop": CropView(masked=True),
    "crop-unmasked": CropView(),
    "crop-context": CropView(margin=0.25),
}
