"""Types of the settings that choose a data set or a segmenter, each with its own options.

pydantic needs the union of all entries of a table, and mypy needs one type, which is their base class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from dcn.datasets import DATASETS, DatasetOptions
from dcn.segmenters import SEGMENTERS, Segmenter

if TYPE_CHECKING:
    AnyDataset = DatasetOptions
    AnySegmenter = Segmenter
else:
    AnyDataset = Annotated[Union[DATASETS], Field(discriminator="name")]  # noqa: UP007 - built from a tuple
    AnySegmenter = Annotated[Union[SEGMENTERS], Field(discriminator="name")]  # noqa: UP007

SEGMENTERS_BY_NAME: dict[str, type[Segmenter]] = {
    entry.model_fields["name"].default: entry for entry in SEGMENTERS
}
SEGMENTER_NAMES: tuple[str, ...] = tuple(SEGMENTERS_BY_NAME)
# Those that need no options: a comparison runs them if nobody chooses others.
SEGMENTERS_WITH_DEFAULTS: tuple[str, ...] = tuple(
    name
    for name, entry in SEGMENTERS_BY_NAME.items()
    if not any(option.is_required() for option in entry.model_fields.values())
)
