"""The base of every group of options, and the kinds of values that several of them have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]
RegionCount = Annotated[int, Field(ge=1, le=255, description="Largest number of regions of an image.")]
Layer = Annotated[int, Field(description="Block of the ViT, counted from the end: -1 is the last one.", lt=0)]


class Options(BaseModel):
    """Validated options: immutable, and an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
