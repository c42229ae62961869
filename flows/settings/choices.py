"""The settings that choose an entry of a table: a data set or a segmenter, each with its own options.

pydantic needs the union of all entries, and mypy needs one type. The tables give the former, their base class
is the latter.
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
    AnyDataset = Annotated[Union[DATASETS], Field(discriminator="name")]  # noqa: UP007 - made of a tuple
    AnySegmenter = Annotated[Union[SEGMENTERS], Field(discriminator="name")]  # noqa: UP007

SEGMENTER_NAMES: tuple[str, ...] = tuple(entry.model_fields["name"].default for entry in SEGMENTERS)
