"""Several settings on one feature cache, side by side in one table: segmenters, or values of a setting."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

from dcn.segmenters import SEGMENTERS
from flows.errors import InvalidSettingsError
from flows.execution.plan import find_job
from flows.settings import Settings, TrainSettings
from flows.settings.loading import change, read_value, validate

# k of the k-NN column: that which the paper prints in bold.
_NEIGHBORS = 5


@dataclass(frozen=True)
class Variant:
    """One of the settings that are compared.

    Attributes:
        name: unique in the comparison.
        group: variants of one group are the points of one curve.
        settings: all of them.
        listing: digest of the listing of the data set, if it is known: see :func:`find_job`.

    """

    name: str
    group: str
    settings: Settings
    listing: str | None = None


def segmenter_variants(settings: Settings) -> list[Variant]:
    """Make a variant of every segmenter of ``compare`` with every number of regions that suits it.

    The segmenter that ``segment`` names keeps the options that stand there, the others have their defaults.
    The attainable modularity and language are left out, because they say nothing of a rival.
    """
    table = {entry.model_fields["name"].default: entry for entry in SEGMENTERS}
    requested = settings.compare.num_regions
    numbers: dict[str, tuple[int | None, ...]] = {
        "every": requested,
        "largest": (max(requested),),
        "own": (None,),
    }
    variants = []
    for name in settings.compare.segmenters:
        for k in numbers[table[name].compared_at]:
            changed = settings.model_dump(mode="json")
            if name != settings.segment.segmenter.name:
                changed["segment"]["segmenter"] = {"name": name}
            if table[name].trained:
                changed["train"]["num_prototypes"] = k
            elif k is not None:
                changed["segment"]["segmenter"]["num_regions"] = k
            changed["evaluate"]["attainable_images"] = 0
            changed["language"] = {}
            label = name if k is None else f"{name}, k = {k}"
            variants.append(Variant(label, name, Settings.model_validate(changed)))
    return variants


def sweep_variants(settings: Settings) -> list[Variant]:
    """Every combination of the values that ``sweep.over`` names.

    Raises:
        InvalidSettingsError: with the wrong one.

    """
    over = dict(sorted(settings.sweep.over.items()))  # PostgreSQL keeps no order of its own
    if not over or not all(over.values()):
        raise InvalidSettingsError(f"sweep.over: write {{section.name: [value, value]}}, not {over}")
    variants = []
    for values in itertools.product(*over.values()):
        # What nobody set stays unset: it has to follow a segmenter that is swept over.
        changed = settings.model_dump(mode="json", exclude_unset=True)
        changed["dataset"] = settings.dataset.model_dump(mode="json")
        changed.pop("sweep")
        for name, value in zip(over, values, strict=True):
            if name.partition(".")[0] in ("dataset", "sweep"):
                raise InvalidSettingsError(f"sweep.over {name}: figures compare on one data set only")
            change(changed, name, value)
        label = ", ".join(f"{name}={_text(value)}" for name, value in zip(over, values, strict=True))
        variants.append(Variant(label, "sweep", validate(changed, label)))
    return variants


def read_values(over: list[str]) -> dict[str, list[Any]]:
    """``sweep.over`` from ``section.name=value,value,...`` each, the values in YAML.

    Raises:
        InvalidSettingsError: with the wrong one.

    """
    axes: dict[str, list[Any]] = {}
    for text in over:
        name, separator, values = text.partition("=")
        if not separator or not name or not all(values.split(",")):
            raise InvalidSettingsError(f"--over {text}: write section.name=value,value,...")
        axes.setdefault(name, []).extend(read_value(f"--over {text}", value) for value in values.split(","))
    return axes


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def comparison_row(variant: Variant) -> dict[str, Any]:
    """The figures of one variant whose ``evaluate`` is complete; None where one is not defined."""
    job = find_job(variant.settings, listing=variant.listing)
    results = job.checkpoint("evaluate").require().summary
    segment = job.checkpoint("segment").require().summary
    kmeans, bound = results["kmeans"], results.get("upper_bound", {})
    segmentation = results["segmentation"]
    published = variant.settings.dataset.name == "voc2012" and (
        variant.settings.num_regions == TrainSettings().num_prototypes
    )
    return {
        "name": variant.name,
        "group": variant.group,
        "kmeans_miou": kmeans.get("miou"),
        "kmeans_miou_deviation": kmeans.get("miou_deviation") if kmeans["seeds"] > 1 else None,
        "published_miou": variant.settings.segment.segmenter.published_miou if published else None,
        "knn_miou": results.get("knn", {}).get(str(_NEIGHBORS), {}).get("miou"),
        "upper_bound_miou": bound.get("miou"),
        "upper_bound_accuracy": bound.get("accuracy"),
        "foreground_iou": results.get("foreground", {}).get("iou"),
        "regions_per_image": segmentation["regions_per_image"],
        "modularity": segmentation["hard_modularity"],
        "covering": segmentation.get("covering"),
        "rand_index": segmentation.get("rand_index"),
        "variation_of_information": segmentation.get("variation_of_information"),
        "seconds_per_image": segment["segmentation_seconds_per_image"],
    }


# Columns of the table: title, and the figure; a column in which nothing is defined is left out.
COLUMNS = {
    "k-means mIoU": "kmeans_miou",
    "published, VOC 2012 with DINO": "published_miou",
    f"k-NN mIoU, k = {_NEIGHBORS}": "knn_miou",
    "upper bound mIoU": "upper_bound_miou",
    "upper bound accuracy": "upper_bound_accuracy",
    "foreground IoU": "foreground_iou",
    "regions per image": "regions_per_image",
    "modularity": "modularity",
    "covering": "covering",
    "Rand index": "rand_index",
    "variation of information": "variation_of_information",
    "seconds per image": "seconds_per_image",
}


def comparison_table(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the table, as text."""
    shown = {
        title: figure for title, figure in COLUMNS.items() if any(row[figure] is not None for row in rows)
    }
    cells = [[row["name"], *(_cell(row, figure) for figure in shown.values())] for row in rows]
    return ["", *shown], cells


def _cell(row: dict[str, Any], figure: str) -> str:
    value = row[figure]
    if value is None or isinstance(value, str):
        return value or "-"
    digits = {"regions_per_image": 2, "modularity": 4, "seconds_per_image": 4}.get(figure, 3)
    text = f"{value:.{digits}f}"
    deviation = row.get(f"{figure}_deviation")
    return text if deviation is None else f"{text} ± {deviation:.3f}"
