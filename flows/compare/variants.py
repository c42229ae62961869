"""The variants of a comparison: several segmenters, or several values of settings, on one feature cache."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from typing import Any

from flows.errors import InvalidSettingsError
from flows.settings import Settings
from flows.settings.choices import SEGMENTERS_BY_NAME
from flows.settings.loading import change, read_value, validate


@dataclass(frozen=True)
class Variant:
    """One of the settings that are compared.

    Attributes:
        name: unique in the comparison.
        group: variants of one group are the points of one curve.
        settings: the complete settings of the variant.
        listing: digest of the listing of the data set, if it is known: see :func:`find_job`.
        row: name of the row of the table that has the means of several variants; empty: an own row.

    """

    name: str
    group: str
    settings: Settings
    listing: str | None = None
    row: str = ""


def segmenter_variants(settings: Settings) -> list[Variant]:
    """Make a variant of every segmenter of ``compare`` with every number of regions that suits it.

    A segmenter with training has a variant for each seed of ``compare.seeds``; they share a row.
    The segmenter that ``segment`` names keeps the options that stand there, the others have their defaults.
    The attainable modularity and language are left out, because they say nothing of a rival.

    Raises:
        InvalidSettingsError: a segmenter needs an option, and ``segment`` names another one.

    """
    requested = settings.compare.num_regions
    numbers: dict[str, tuple[int | None, ...]] = {
        "every": requested,
        "largest": (max(requested),),
        "own": (None,),
    }
    variants = []
    for name in settings.compare.segmenters:
        segmenter = SEGMENTERS_BY_NAME[name]
        for k in numbers[segmenter.compared_at]:
            changed = settings.model_dump(mode="json")
            if name != settings.segment.segmenter.name:
                changed["segment"]["segmenter"] = {"name": name}
            if segmenter.trained:
                changed["train"]["num_prototypes"] = k
            elif k is not None:
                changed["segment"]["segmenter"]["num_regions"] = k
            changed["evaluate"]["attainable_images"] = 0
            changed["language"] = {}
            label = name if k is None else f"{name}, k = {k}"
            seeds = settings.compare.seeds if segmenter.trained else ()
            variants += seeded(Variant(label, name, validate(changed, f"compare.segmenters {name}")), seeds)
    return variants


def seeded(variant: Variant, seeds: tuple[int, ...]) -> list[Variant]:
    """Make a variant for each seed of the training; without seeds the variant stays as it is."""
    if not seeds:
        return [variant]
    changed = variant.settings.model_dump(mode="json")
    row = f"{variant.name}, {len(seeds)} seeds" if len(seeds) > 1 else ""
    found = []
    for seed in seeds:
        changed["train"]["seed"] = seed
        name = f"{variant.name}, seed = {seed}"
        found.append(replace(variant, name=name, settings=Settings.model_validate(changed), row=row))
    return found


def sweep_variants(settings: Settings) -> list[Variant]:
    """Make a variant of every combination of the values that ``sweep.over`` names.

    Raises:
        InvalidSettingsError: a setting or a value is wrong; the message names it.

    """
    over = dict(sorted(settings.sweep.over.items()))  # PostgreSQL does not keep the order
    if not over or not all(over.values()):
        raise InvalidSettingsError(f"sweep.over: write {{section.name: [value, value]}}, not {over}")
    variants = []
    for values in itertools.product(*over.values()):
        # Unset options stay unset, because their defaults depend on the segmenter, which may be swept over.
        changed = settings.model_dump(mode="json", exclude_unset=True)
        changed["dataset"] = settings.dataset.model_dump(mode="json")
        changed.pop("sweep")
        for name, value in zip(over, values, strict=True):
            if name.partition(".")[0] in ("dataset", "sweep"):
                raise InvalidSettingsError(f"sweep.over {name}: metrics compare on one data set only")
            change(changed, name, value)
        label = ", ".join(f"{name}={_text(value)}" for name, value in zip(over, values, strict=True))
        variants.append(Variant(label, "sweep", validate(changed, label)))
    return variants


def read_values(over: list[str]) -> dict[str, list[Any]]:
    """Read ``sweep.over`` from texts of the form ``section.name=value,value,...``, with values in YAML.

    A value may be a list of its own: ``embed.source=crop,[crop,tokens]``.

    Raises:
        InvalidSettingsError: a text is wrong; the message names it.

    """
    axes: dict[str, list[Any]] = {}
    for text in over:
        name, separator, values = text.partition("=")
        if not separator or not name or not all(values.split(",")):
            raise InvalidSettingsError(f"--over {text}: write section.name=value,value,...")
        axes.setdefault(name, []).extend(read_value(f"--over {text}", f"[{values}]"))
    return axes


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
