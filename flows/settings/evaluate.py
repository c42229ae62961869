"""Settings of the evaluation, of comparisons and sweeps, and of the report."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dcn.options import Options, PositiveInt, RegionCount
from flows.settings.choices import SEGMENTER_NAMES


def _check_segmenter(name: str) -> str:
    if name not in SEGMENTER_NAMES:
        raise ValueError(f"there is no such segmenter; choose from {', '.join(SEGMENTER_NAMES)}")
    return name


# The enumeration lets the form of a deployment show the choices.
SegmenterName = Annotated[
    str, AfterValidator(_check_segmenter), Field(json_schema_extra={"enum": list(SEGMENTER_NAMES)})
]


class EvaluateSettings(Options):
    """Evaluation of the classes and the regions (section 4)."""

    num_clusters: RegionCount | None = Field(
        None, description="of k-means; empty: the classes without background, or 20 where there are none"
    )
    num_seeds: PositiveInt = Field(10, description="runs of k-means")
    neighbors: tuple[PositiveInt, ...] = Field(
        (1, 3, 5, 10), min_length=1, description="k of the k-NN retrieval"
    )
    attainable_images: Annotated[int, Field(ge=0)] = Field(
        128, description="evaluated images whose attainable modularity is searched; 0: none"
    )
    sampled_images: PositiveInt = Field(
        16384,
        description="images whose regions k-means learns from, and those in the bank of k-NN; of more, that "
        "many are taken, evenly spread",
    )


class CompareSettings(Options):
    """Segmenters and numbers of regions that a comparison runs."""

    segmenters: tuple[SegmenterName, ...] = Field(SEGMENTER_NAMES, min_length=1, description="which are run")
    num_regions: tuple[RegionCount, ...] = Field(
        (5,), min_length=1, description="each of them is run with each number"
    )


class SweepSettings(Options):
    """Settings with several values. A sweep runs every combination and compares them."""

    over: dict[str, list[Any]] = Field(
        {}, description='every combination is run: {"train.num_prototypes": [3, 5]}'
    )


class ReportSettings(Options):
    """The report, a page with pictures and metrics."""

    num_photographs: PositiveInt = Field(24, description="evaluated photographs that are shown")
