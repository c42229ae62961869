"""Settings of the evaluation, of comparisons and sweeps, and of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from dcn.clusterers import KMeansClusterer
from dcn.options import Options, PositiveInt, RegionCount, Seed
from flows.settings.choices import SEGMENTER_NAMES, SEGMENTERS_WITH_DEFAULTS, AnyClusterer


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

    clustering: AnyClusterer = Field(
        KMeansClusterer(), description="Method that divides the foreground regions into clusters."
    )
    num_clusters: RegionCount | Literal["auto"] | None = Field(
        None,
        description="Number of clusters; empty: the number of classes, without the first one if there is a "
        "foreground step or if no mask has it; 20 without class names; ``auto``: the most stable number.",
    )
    overclustering: Annotated[int, Field(ge=1, le=100)] = Field(
        1,
        description="First make this many times as many clusters, then merge the most similar ones; 1 merges "
        "none.",
    )
    num_seeds: PositiveInt = Field(
        10, description="Number of runs of the clustering, each with another seed."
    )
    background: Literal["found", "none"] = Field(
        "found",
        description="``found``: the regions that ``segment`` took for background have the first class. "
        "``none``: there is no foreground step, and all regions are clustered into all classes. The first "
        "class is then one like the others, unless no mask has it.",
    )
    neighbors: tuple[PositiveInt, ...] = Field(
        (1, 3, 5, 10), description="Numbers of neighbors k of the k-NN retrieval; ``[]`` leaves it out."
    )
    attainable_images: Annotated[int, Field(ge=0)] = Field(
        128,
        description="Number of evaluated images whose attainable modularity is searched; 0 searches none.",
    )
    true_regions: bool = Field(
        True,
        description="Classify the regions of the ground truth as well, which shows what segmentation, "
        "foreground and classification cost. The stage ``embed_truth`` embeds one crop for each class of a "
        "photograph, about half as many as ``embed``. Without ground truth of classes it does not run.",
    )
    sampled_images: PositiveInt = Field(
        16384,
        description="Largest number of images that the clustering learns from, and of images in the bank of "
        "k-NN; of a larger split, this many are taken at even distances.",
    )


class CompareSettings(Options):
    """Segmenters and numbers of regions that a comparison runs."""

    segmenters: tuple[SegmenterName, ...] = Field(
        SEGMENTERS_WITH_DEFAULTS, min_length=1, description="Segmenters that are run."
    )
    num_regions: tuple[RegionCount, ...] = Field(
        (5,), min_length=1, description="Numbers of regions that each segmenter is run with."
    )
    seeds: tuple[Seed, ...] = Field(
        (),
        description="Seeds that a segmenter with training is trained with; the table has the means over "
        "them. Empty: ``train.seed`` alone, and 0 to 4 in a ladder.",
    )


class SweepSettings(Options):
    """Settings with several values. A sweep runs every combination and compares them."""

    over: dict[str, list[Any]] = Field(
        {},
        description='Values of each setting; every combination is run: ``{"train.num_prototypes": [3, 5]}``.',
    )


class ReportSettings(Options):
    """The report, a page with pictures and metrics."""

    num_photographs: PositiveInt = Field(
        20_000,
        description="Most photographs in the list of the page. Those of the evaluated split come first; of "
        "more, this many are taken at even distances.",
    )
    names: Path | None = Field(
        None,
        description="File ``names.yaml`` with names of clusters, for the page, ``export`` and ``predict``.",
    )
