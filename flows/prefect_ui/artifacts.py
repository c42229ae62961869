"""Artifacts of a flow run: metrics and pictures of each stage, warnings, and the cause of a failure.

Names and messages come from files, so they are shown as text (:mod:`flows.prefect_ui.markdown`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import deployment, flow_run

from dcn.errors import DCNError
from flows.compare.rows import ComparisonRow, comparison_table
from flows.errors import FlowError, describe_error
from flows.evaluation.results import Results
from flows.execution.retries import is_transient
from flows.execution.run import StageResult
from flows.prefect_ui.artifact_keys import artifact_key
from flows.prefect_ui.markdown import block, cell, link_to_file
from flows.report.contact_sheet import contact_sheet
from flows.report.headline import headline_metrics
from flows.report.page import jpeg_uri
from flows.stage import Job
from storage import StorageError

_WITH_PICTURES = ("segment", "report")
# Files that a person opens in a browser.
_PAGES = {"report": "report.html"}
_SHEET_PHOTOGRAPHS = 8


def publish(job: Job, result: StageResult) -> None:
    """Create the artifacts of a finished stage."""
    manifest = result.manifest
    rows = [
        {"metric": "checkpoint", "value": f"{manifest.stage}/{manifest.key}"},
        {"metric": "reused", "value": str(result.reused)},
        {"metric": "seconds", "value": f"{manifest.seconds:.1f}"},
        *({"metric": name, "value": shown} for name, shown in flat_metrics(manifest.summary)),
    ]
    key, description = artifact_key(manifest.stage), f"Metrics of the stage `{manifest.stage}`."
    if manifest.stage in _PAGES:
        location = job.checkpoint(manifest.stage).file_location(_PAGES[manifest.stage])
        create_markdown_artifact(_page_text(location, rows), key=key, description=description)
    else:
        _create_table(rows, key, description)
    if manifest.warnings:
        warnings = [{"warning": message} for message in manifest.warnings]
        key = artifact_key(manifest.stage, "warnings")
        _create_table(warnings, key, f"Warnings of the stage `{manifest.stage}`.")
    if manifest.stage in _WITH_PICTURES:
        semantic = manifest.stage == "report"
        sheet = contact_sheet(job, _SHEET_PHOTOGRAPHS, semantic)
        if sheet is not None:
            key = artifact_key(manifest.stage, "pictures")
            description = "A few photographs, and what the stages found in them."
            create_image_artifact(jpeg_uri(sheet), key=key, description=description)


def publish_pipeline(results: Results) -> None:
    """Create the table of the main metrics of a whole run."""
    _create_table(
        [asdict(headline) for headline in headline_metrics(results)], "pipeline", "Metrics of the run."
    )


def publish_comparison(rows: list[ComparisonRow]) -> None:
    """Create the table of a comparison."""
    titles, cells = comparison_table(rows)
    table = [dict(zip(["variant", *titles[1:]], row, strict=True)) for row in cells]
    _create_table(table, "compare", "Metrics of every variant.")


def publish_failure(error: Exception) -> None:
    """Create the artifact of a failed run: the error, and what to do."""
    if isinstance(error, DCNError | FlowError | StorageError) and not is_transient(error):
        advice = "The message says what is wrong. Put it right, then run this again"
    elif is_transient(error):
        advice = (
            "A file system failed, or a task took longer than `runner.task_timeout`, and further attempts "
            "did not help. Look after the storage, then run this again"
        )
    elif isinstance(error, OSError):
        advice = "The operating system refused. Make room, or give the right to write; then run this again"
    else:
        advice = "Nobody foresaw this; the logs of this run have the traceback. To run it again"
    again = f"`prefect flow-run retry {flow_run.root_flow_run_id}`" if deployment.id else "the same command"
    cause = block(f"{type(error).__name__}: {describe_error(error)}")
    text = (
        f"# What went wrong\n\n{cause}\n\n# What to do\n\n"
        f"{advice}: {again}. What is finished is not computed again.\n"
    )
    create_markdown_artifact(text, key="failure", description="What went wrong, and what to do.")


def _page_text(location: str, rows: list[dict[str, str]]) -> str:
    """Link to a page, and show a table of metrics. Prefect shows no links in an artifact that is a table."""
    lines = [f"| {row['metric']} | {cell(row['value'])} |" for row in rows]
    return "\n".join(
        [
            f"Open the page in a browser: {link_to_file(location)}",
            "",
            "| metric | value |",
            "|---|---|",
            *lines,
        ]
    )


def _create_table(rows: list[dict[str, str]], key: str, description: str) -> None:
    shown = [{title: cell(text) for title, text in row.items()} for row in rows]
    create_table_artifact(shown, key=key, description=description)


def flat_metrics(summary: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten the metrics of a nested summary to (dotted name, text); lists are left out."""
    metrics = []
    for name, value in summary.items():
        if isinstance(value, dict):
            metrics.extend(flat_metrics(value, f"{prefix}{name}."))
        elif not isinstance(value, list):
            metrics.append((prefix + name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return metrics
