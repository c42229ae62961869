"""The base class of all options, and the types of values that several options share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

PositiveInt = Annotated[int, Field(ge=1)]
RegionCount = Annotated[int, Field(ge=1, le=255, description="Largest number of regions in an image.")]
Layer = Annotated[int, Field(description="Block, counted from the end: -1 is the last block.", lt=0)]


class Options(BaseModel):
    """Base class of validated options. They are immutable; an unknown name is an error.

    In every path, ``~`` and variables such as ``$HOME`` are replaced, as a shell would do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @field_validator("*", mode="after")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return Path(expand_path(str(value))) if isinstance(value, Path) else value


def expand_path(path: str) -> str:
    """Replace ``~`` and variables of the environment. A variable or user that does not exist stays as it is.

    Example:
        >>> expand_path("$NO_SUCH_VARIABLE/photographs")
        '$NO_SUCH_VARIABLE/photographs'

    """
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 - Path raises for an unknown user
