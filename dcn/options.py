"""The base class of all options, and the types of values that several options share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]
RegionCount = Annotated[int, Field(ge=1, le=255, description="Largest number of regions in an image.")]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]  # scikit-learn takes no larger one
Layer = Annotated[int, Field(description="Block, counted from the end: -1 is the last block.", lt=0)]


class Options(BaseModel):
    """Base class of validated options. They are immutable; an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
