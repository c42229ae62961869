"""What a flow run's page shows: a table of the figures of each stage, and pictures."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_image_artifact, create_table_artifact

from flows.comparison import comparison_table
from flows.execution import StageResult
from flows.page import jpeg_uri
from flows.pictures import contact_sheet
from flows.stage import Job

_WITH_PICTURES = ("segment", "report")
_SHEET_PHOTOGRAPHS = 8


def publish(job: Job, result: StageResult) -> None:
    """Leave the artifacts of a finished stage."""
    manifest = result.manifest
    rows = [
        {"figure": "checkpoint", "value": f"{manifest.stage}/{manifest.key}"},
        {"figure": "reused", "value": str(result.reused)},
        {"figure": "seconds", "value": f"{manifest.seconds:.1f}"},
        *({"figure": name, "value": shown} for name, shown in flat_figures(manifest.summary)),
    ]
    create_table_artifact(rows, key=manifest.stage, description=f"Stage `{manifest.stage}`")
    if manifest.stage in _WITH_PICTURES:
        semantic = manifest.stage == "report"
        sheet = contact_sheet(job, _SHEET_PHOTOGRAPHS, semantic)
        if sheet is not None:
            create_image_artifact(jpeg_uri(sheet), key=f"{manifest.stage}-pictures")


def publish_comparison(rows: list[dict[str, Any]]) -> None:
    """Leave the table of a comparison."""
    titles, cells = comparison_table(rows)
    table = [dict(zip(["variant", *titles[1:]], row, strict=True)) for row in cells]
    create_table_artifact(table, key="compare", description="Comparison")


def flat_figures(summary: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Figures of a nested summary as (dotted name, text), lists left out."""
    figures = []
    for name, value in summary.items():
        if isinstance(value, dict):
            figures.extend(flat_figures(value, f"{prefix}{name}."))
        elif not isinstance(value, list):
            figures.append((prefix + name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return figures
