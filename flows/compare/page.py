"""The page of a comparison: its table, a curve for each segmenter, the same photographs under each."""

from __future__ import annotations

import json
from typing import Any

from dcn.errors import InvalidPhotographError
from dcn.figures.matching import matched_labels
from dcn.images.palette import overlay, region_palette
from flows.compare.choice import choose
from flows.compare.ladder import GROUP as LADDER
from flows.compare.plots import curves_uri, ladder_uri
from flows.compare.rows import ComparisonRow, comparison_row, comparison_table
from flows.compare.seeds import table_rows
from flows.compare.variants import Variant
from flows.execution.plan import find_job
from flows.inputs.datasets import open_dataset, read_photograph
from flows.report.page import jpeg_uri, render, template_digest
from flows.report.pictures import ResultReader, jpeg
from storage import Checkpoint, Manifest, Workspace, content_key

_TEMPLATE = "comparison.html.j2"
_PHOTOGRAPHS = 12
_PICTURE_WIDTH = 260
# The page shows the variant of each group whose number of regions is nearest to this one.
_SHOWN_REGIONS = 5


def write_comparison(variants: list[Variant]) -> tuple[Checkpoint, list[ComparisonRow]]:
    """Write ``comparison.html`` and ``comparison.json`` of variants whose ``evaluate`` is complete.

    Returns:
        The checkpoint ``compare/<key>``, and the rows of the table.

    """
    jobs = {variant.name: find_job(variant.settings, listing=variant.listing) for variant in variants}
    inputs = {name: job.checkpoint("evaluate").key for name, job in jobs.items()}
    title = variants[0].settings.dataset.title
    settings = {"template": template_digest(_TEMPLATE), "title": title}
    key = content_key({"stage": "compare", "version": 4, "settings": settings, "inputs": inputs})
    checkpoint = Workspace(variants[0].settings.workspace).checkpoint("compare", key)
    rows = choose(table_rows(variants), variants)
    manifest = checkpoint.read_manifest()
    if manifest is None or not manifest.complete:
        made_of = {
            found.key: found.require().content
            for found in (job.checkpoint("evaluate") for job in jobs.values())
        }
        checkpoint.begin(Manifest("compare", key, settings, inputs, rows=0, shard_rows=1, made_of=made_of))
        titles, cells = comparison_table(rows)
        classes = {variant.name for variant in variants if variant.settings.regions_are_classes}
        page = render(
            _TEMPLATE,
            dataset=title,
            titles=titles,
            cells=cells,
            chosen=next((row.name for row in rows if row.chosen), None),
            curves=curves_uri([row for row in rows if row.name not in classes]),
            ladder=ladder_uri(rows) if variants[0].group == LADDER else None,
            **_photographs(variants),
            inputs=inputs,
        )
        checkpoint.write_file("comparison.html", page)
        checkpoint.write_file("comparison.json", _json(rows))
        checkpoint.finish({"variants": len(variants)}, 0.0)
    return checkpoint, rows


def _json(rows: list[ComparisonRow]) -> bytes:
    return json.dumps([row.to_json() for row in rows], indent=1, allow_nan=False).encode()


def _photographs(variants: list[Variant]) -> dict[str, Any]:
    """Draw the regions of the same photographs by one variant of each group: ``columns``, ``photographs``.

    Regions that overlap those of the first variant have their colors.
    """
    nearest: dict[str, tuple[float, Variant]] = {}
    for variant in variants:
        # A sweep or a ladder shows every row, because they differ in more than the number of regions.
        rows_differ = variant.group in ("sweep", LADDER)
        place = (variant.row or variant.name) if rows_differ else variant.group
        distance = abs(comparison_row(variant).regions_per_image - _SHOWN_REGIONS)
        if place not in nearest or distance < nearest[place][0]:
            nearest[place] = distance, variant
    shown = [variant for _, variant in nearest.values()]
    jobs = {variant.name: find_job(variant.settings, listing=variant.listing) for variant in shown}
    readers = {name: ResultReader(job, semantic=False) for name, job in jobs.items()}
    dataset = open_dataset(shown[0].settings.dataset)
    photographs = []
    for image in next(iter(readers.values())).shown(_PHOTOGRAPHS):
        try:
            photograph = read_photograph(dataset, image)
        except InvalidPhotographError:
            continue  # the run has warned of it
        found = [reader.regions(image) for reader in readers.values()]
        alike = [found[0], *(matched_labels(labels, found[0]) for labels in found[1:])]
        drawn = [overlay(photograph, labels, region_palette()) for labels in alike]
        pictures = [jpeg(picture, _PICTURE_WIDTH) for picture in (photograph, *drawn)]
        photographs.append({"id": image.item.id, "pictures": [jpeg_uri(picture) for picture in pictures]})
    return {"columns": ["photograph", *readers], "photographs": photographs}
